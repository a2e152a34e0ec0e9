//! A model that sparsec compiled, safe to use from Rust: wrong types, shapes and counts are errors, and a session, which
//! owns the memory of a run, belongs to one thread at a time.

pub mod sys;

use std::ffi::{c_char, c_void, CStr};
use std::fmt;

/// Why a run was refused.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// An input or output of the model.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: &'static str,
    pub dtype: &'static str,
    pub shape: &'static [i64],
}

impl Port {
    pub fn elements(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }
}

/// Rust's types with NumPy's names.
pub trait Element: Copy {
    const DTYPE: &'static str;
}

macro_rules! elements {
    ($($type:ty => $name:literal),*) => { $(impl Element for $type { const DTYPE: &'static str = $name; })* };
}

elements!(f32 => "float32", f64 => "float64", i64 => "int64", i32 => "int32", i16 => "int16", i8 => "int8",
          u64 => "uint64", u32 => "uint32", u16 => "uint16", u8 => "uint8", bool => "bool");

/// A slice of any element type that a run reads.
pub struct Input<'a>(Slice, std::marker::PhantomData<&'a ()>);

/// A slice of any element type that a run writes.
pub struct Output<'a>(Slice, std::marker::PhantomData<&'a mut ()>);

struct Slice {
    data: *mut c_void,
    elements: usize,
    dtype: &'static str,
}

impl<'a, T: Element> From<&'a [T]> for Input<'a> {
    fn from(slice: &'a [T]) -> Self {
        let data = slice.as_ptr() as *mut c_void;
        Input(Slice { data, elements: slice.len(), dtype: T::DTYPE }, std::marker::PhantomData)
    }
}

impl<'a, T: Element> From<&'a mut [T]> for Output<'a> {
    fn from(slice: &'a mut [T]) -> Self {
        let data = slice.as_mut_ptr() as *mut c_void;
        Output(Slice { data, elements: slice.len(), dtype: T::DTYPE }, std::marker::PhantomData)
    }
}

unsafe fn text(pointer: *const c_char) -> &'static str {
    CStr::from_ptr(pointer).to_str().unwrap_or("?")
}

macro_rules! ports {
    ($count:ident, $name:ident, $dtype:ident, $rank:ident, $shape:ident) => {
        // Safety: the model's own tables, for indices that it counts.
        unsafe {
            (0..sys::$count())
                .map(|i| Port {
                    name: text(sys::$name(i)),
                    dtype: text(sys::$dtype(i)),
                    shape: match sys::$rank(i) as usize {
                        0 => &[],
                        rank => std::slice::from_raw_parts(sys::$shape(i), rank),
                    },
                })
                .collect()
        }
    };
}

pub fn inputs() -> Vec<Port> {
    ports!(model_input_count, model_input_name, model_input_dtype, model_input_rank, model_input_shape)
}

pub fn outputs() -> Vec<Port> {
    ports!(model_output_count, model_output_name, model_output_dtype, model_output_rank, model_output_shape)
}

/// What was compiled and why, as JSON.
pub fn manifest() -> &'static str {
    unsafe { text(sys::model_manifest()) }
}

/// The memory of one run.
pub struct Session {
    workspace: Vec<u8>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    pub fn new() -> Self {
        let bytes = unsafe { sys::model_workspace_size() };
        Session { workspace: vec![0; bytes], inputs: inputs(), outputs: outputs() }
    }

    /// Runs the model with at most `threads` threads, or as many as it was compiled for where that is 0.
    pub fn run(&mut self, inputs: &[Input], outputs: &mut [Output], threads: i32) -> Result<(), Error> {
        let inputs = pointers(&self.inputs, inputs.iter().map(|x| &x.0).collect())?;
        let outputs = pointers(&self.outputs, outputs.iter().map(|x| &x.0).collect())?;
        let host = sys::Threads { parallel_for: None, context: std::ptr::null_mut(), threads };
        let workspace = self.workspace.as_mut_ptr() as *mut c_void;
        // Safety: counts, types and sizes are those of the ports; the borrows keep outputs apart from all else.
        let code =
            unsafe { sys::model_run_with(inputs.as_ptr() as *const *const c_void, outputs.as_ptr(), workspace, &host) };
        match code {
            0 => Ok(()),
            _ => Err(Error(unsafe { text(sys::model_error(code)) }.into())),
        }
    }
}

fn pointers(ports: &[Port], slices: Vec<&Slice>) -> Result<Vec<*mut c_void>, Error> {
    if ports.len() != slices.len() {
        return Err(Error(format!("{} tensors given, and there are {} ports", slices.len(), ports.len())));
    }
    for (port, slice) in ports.iter().zip(&slices) {
        if port.dtype != slice.dtype || port.elements() != slice.elements {
            let given = format!("{} elements of {}", slice.elements, slice.dtype);
            return Err(Error(format!("{} is {} of shape {:?}, not {given}", port.name, port.dtype, port.shape)));
        }
    }
    Ok(slices.iter().map(|slice| slice.data).collect())
}
