//! Says how to measure: each benchmark is a program of its own, and `support` is what they share.

fn main() {
    println!("cargo bench                             # all of them");
    println!("cargo bench --bench compare             # this crate beside others");
    println!("cargo bench --bench compare -- --quick  # less of it, in a minute");
}
