//! Load generator of `./dev bench`.
fn main() {}
