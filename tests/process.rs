use multiproc::{JoinError, Process};

fn double(n: u64) -> u64 {
    2 * n
}
fn boom(_: ()) -> u32 {
    panic!("the reactor is gone")
}

#[test]
fn basic() {
    assert_eq!(Process::spawn(double, 21).unwrap().join().unwrap(), 42);
    let e = Process::spawn(boom, ()).unwrap().join().unwrap_err();
    println!("{e} {e:?}");
    let JoinError::Panicked(p) = e else { panic!() };
    assert_eq!(p.message(), "the reactor is gone");
}
