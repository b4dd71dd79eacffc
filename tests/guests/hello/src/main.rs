//! A plain program that writes one line, as the benchmarks run it.

fn main() {
    println!("hello");
}
