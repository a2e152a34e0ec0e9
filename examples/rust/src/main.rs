//! Runs the model on a ramp from 0 to 1, from four threads at once.
//!
//!     sparsec compile model.onnx --target x86 --emit a -o model.a
//!     MODEL=model.a cargo run --release

use sparsec_example::{inputs, outputs, Error, Session};

fn first_output() -> Result<f32, Error> {
    let size = inputs()[0].elements();
    let x: Vec<f32> = (0..size).map(|i| i as f32 / size as f32).collect();
    let mut y = vec![0f32; outputs()[0].elements()];
    let mut session = Session::new();
    session.run(&[x.as_slice().into()], &mut [y.as_mut_slice().into()], 0)?;
    Ok(y[0])
}

fn main() -> Result<(), Error> {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(first_output)).collect();
    for thread in threads {
        println!("first value {}", thread.join().expect("no run panics")?);
    }
    let refused = Session::new().run(&[[0u8; 3].as_slice().into()], &mut [], 0);
    println!("{}", refused.expect_err("three bytes are no input"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::first_output;

    #[test]
    fn runs_are_equal() {
        assert_eq!(first_output().unwrap(), first_output().unwrap());
    }
}
