//! Links the model: MODEL is the path of its .a, .o or .so.

fn main() {
    println!("cargo:rerun-if-env-changed=MODEL");
    let model = std::env::var("MODEL").expect("MODEL is the path of model.a, as sparsec compile --emit a writes it");
    let path = std::fs::canonicalize(&model).expect("the file that MODEL names");
    println!("cargo:rerun-if-changed={}", path.display());
    println!("cargo:rustc-link-arg={}", path.display());
}
