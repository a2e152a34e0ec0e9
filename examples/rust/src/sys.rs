//! The C functions of model.h, as they are.

use std::ffi::{c_char, c_void};

#[repr(C)]
pub struct Threads {
    pub parallel_for: Option<
        unsafe extern "C" fn(*mut c_void, i32, Option<unsafe extern "C" fn(*mut c_void, i32)>, *mut c_void),
    >,
    pub context: *mut c_void,
    pub threads: i32,
}

extern "C" {
    pub fn model_workspace_size() -> usize;
    pub fn model_run_with(
        inputs: *const *const c_void,
        outputs: *const *mut c_void,
        workspace: *mut c_void,
        threads: *const Threads,
    ) -> i32;
    pub fn model_error(code: i32) -> *const c_char;
    pub fn model_manifest() -> *const c_char;

    pub fn model_input_count() -> i32;
    pub fn model_input_name(index: i32) -> *const c_char;
    pub fn model_input_dtype(index: i32) -> *const c_char;
    pub fn model_input_rank(index: i32) -> i32;
    pub fn model_input_shape(index: i32) -> *const i64;

    pub fn model_output_count() -> i32;
    pub fn model_output_name(index: i32) -> *const c_char;
    pub fn model_output_dtype(index: i32) -> *const c_char;
    pub fn model_output_rank(index: i32) -> i32;
    pub fn model_output_shape(index: i32) -> *const i64;
}
