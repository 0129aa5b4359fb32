//! Pipes: sending and receiving.

use multiproc::{Connection, Nothing, Pipe, Plain};

use crate::stepping::{Fate, Gate, Operation, begin, end};

type Numbers<Out, In> = Connection<Out, In, Plain>;

#[test]
fn send_of_a_plain_value() {
    fn victim((mut out, gate): (Numbers<u64, Nothing>, Gate)) {
        out.send(1).unwrap();
        begin(gate);
        out.send(2).unwrap();
        end();
    }
    fn check(mut inn: Numbers<Nothing, u64>, fate: Fate) {
        assert_eq!(inn.recv().unwrap(), 1);
        match inn.recv() {
            Ok(second) => assert_eq!(second, 2),
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        assert!(inn.recv().unwrap_err().is_disconnected());
    }
    let make = || Pipe::builder().plain().slots(4).simplex().unwrap();
    Operation { name: "send of a plain value", make, victim, check }.try_all();
}

#[test]
fn recv_of_a_plain_value() {
    fn victim((mut inn, gate): (Numbers<Nothing, u64>, Gate)) {
        begin(gate);
        assert_eq!(inn.recv().unwrap(), 1);
        end();
    }
    fn check(mut out: Numbers<u64, Nothing>, _: Fate) {
        let unsent = (3..).find_map(|number| out.send(number).err()).unwrap();
        assert!(unsent.is_disconnected(), "{unsent}");
        assert!(unsent.into_inner() >= 3);
    }
    let make = || {
        let (mut out, inn) = Pipe::builder().plain().slots(4).simplex().unwrap();
        out.send(1).unwrap();
        out.send(2).unwrap();
        (inn, out)
    };
    Operation { name: "recv of a plain value", make, victim, check }.try_all();
}

/// A message longer than the pipe: pieces of it are in the ring when the writer dies.
#[test]
fn send_of_a_message_in_pieces() {
    fn victim((mut out, gate): (Connection<Vec<u8>, Nothing>, Gate)) {
        out.send(vec![1; 10]).unwrap();
        begin(gate);
        out.send(vec![2; 100]).unwrap();
        end();
    }
    fn check(mut inn: Connection<Nothing, Vec<u8>>, fate: Fate) {
        assert_eq!(inn.recv().unwrap(), [1; 10]);
        match inn.recv() {
            Ok(second) => assert_eq!(second, [2; 100]),
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        assert!(inn.recv().unwrap_err().is_disconnected());
    }
    let make = || Pipe::builder().capacity(512).simplex().unwrap();
    Operation { name: "send of a message in pieces", make, victim, check }.try_all();
}
