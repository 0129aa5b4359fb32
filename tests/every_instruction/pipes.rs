//! Pipes: sending, receiving and closing.

use multiproc::{Connection, Nothing, Pipe, Plain, Process};

use crate::stepping::{Fate, Gate, Operation, Say, alone, begin, end, sibling};

type Numbers<Out, In> = Connection<Out, In, Plain>;
type Texts = Connection<Nothing, Vec<u8>>;

/// The second message came whole, or its sender died; and then nothing more comes.
fn expect(mut inn: Texts, first: &[u8], second: &[u8], fate: Fate) {
    assert_eq!(inn.recv().unwrap(), first);
    match inn.recv() {
        Ok(received) => assert_eq!(received, second),
        Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
    }
    assert!(inn.recv().unwrap_err().is_disconnected());
}

#[test]
fn send_of_a_plain_value() {
    fn make() -> (Numbers<u64, Nothing>, Numbers<Nothing, u64>) {
        Pipe::builder().plain().slots(4).simplex().unwrap()
    }
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
    alone("send_of_a_plain_value", |()| {
        Operation::new("pipe: send of a plain value", make, victim, check).try_all();
    });
}

#[test]
fn recv_of_a_plain_value() {
    type Out = Numbers<u64, Nothing>;
    fn make() -> (Numbers<Nothing, u64>, Out) {
        let (mut out, inn) = Pipe::builder().plain().slots(4).simplex().unwrap();
        out.send(1).unwrap();
        out.send(2).unwrap();
        (inn, out)
    }
    fn victim((mut inn, gate): (Numbers<Nothing, u64>, Gate)) {
        begin(gate);
        assert_eq!(inn.recv().unwrap(), 1);
        end();
    }
    fn check(mut out: Out, _: Fate) {
        let unsent = (3..).find_map(|number| out.send(number).err()).unwrap();
        assert!(unsent.is_disconnected(), "{unsent}");
        assert!(unsent.into_inner() >= 3);
    }
    alone("recv_of_a_plain_value", |()| {
        Operation::new("pipe: recv of a plain value", make, victim, check).try_all();
    });
}

#[test]
fn send_to_a_reader_that_sleeps() {
    type Reader = Process<Option<u64>>;
    fn reads((mut inn, mut say): (Numbers<Nothing, u64>, Say)) -> Option<u64> {
        say.send(()).unwrap();
        let received = inn.recv();
        assert!(inn.recv().unwrap_err().is_disconnected());
        received.ok()
    }
    fn make() -> (Numbers<u64, Nothing>, Reader) {
        let (out, inn) = Pipe::builder().plain().slots(4).simplex().unwrap();
        (out, sibling(reads, inn))
    }
    fn victim((mut out, gate): (Numbers<u64, Nothing>, Gate)) {
        begin(gate);
        out.send(2).unwrap();
        end();
    }
    fn check(reader: Reader, fate: Fate) {
        let received = reader.join().unwrap();
        assert!(received == Some(2) || received.is_none() && !fate.is_done());
    }
    alone("send_to_a_reader_that_sleeps", |()| {
        Operation::new("pipe: send to a reader that sleeps", make, victim, check).try_all();
    });
}

#[test]
fn recv_that_has_to_wait() {
    fn make() -> (Texts, Connection<Vec<u8>, Nothing>) {
        let (out, inn) = Pipe::simplex().unwrap();
        (inn, out)
    }
    fn victim((mut inn, gate): (Texts, Gate)) {
        begin(gate);
        assert_eq!(inn.recv().unwrap(), [1; 20]);
        end();
    }
    fn check(mut out: Connection<Vec<u8>, Nothing>, _: Fate) {
        assert!(out.send(vec![2]).unwrap_err().is_disconnected());
    }
    alone("recv_that_has_to_wait", |()| {
        Operation::new("pipe: recv that has to wait", make, victim, check)
            .woken_by(|out| out.send(vec![1; 20]).unwrap())
            .try_all();
    });
}

#[test]
fn send_that_has_to_wait() {
    fn make() -> (Numbers<u64, Nothing>, Numbers<Nothing, u64>) {
        let (mut out, inn) = Pipe::builder().plain().slots(2).simplex().unwrap();
        let full = (1..).find_map(|number| out.try_send(number).err()).unwrap();
        assert!(full.is_full());
        (out, inn)
    }
    fn victim((mut out, gate): (Numbers<u64, Nothing>, Gate)) {
        begin(gate);
        out.send(100).unwrap();
        end();
    }
    fn check(mut inn: Numbers<Nothing, u64>, fate: Fate) {
        let received: Vec<u64> = inn.iter().collect();
        assert!(received.last() == Some(&100) || !fate.is_done());
        assert!(received.is_sorted());
        assert!(inn.recv().unwrap_err().is_disconnected());
    }
    alone("send_that_has_to_wait", |()| {
        Operation::new("pipe: send that has to wait", make, victim, check)
            .woken_by(|inn| assert_eq!(inn.recv().unwrap(), 1))
            .try_all();
    });
}

/// Is killed in the second of two messages.
fn send_twice((mut out, gate): (Connection<Vec<u8>, Nothing>, Gate)) {
    out.send(vec![1; 10]).unwrap();
    begin(gate);
    out.send(vec![2; 100]).unwrap();
    end();
}

fn expect_one_or_both(inn: Texts, fate: Fate) {
    expect(inn, &[1; 10], &[2; 100], fate);
}

#[test]
fn send_of_a_framed_message() {
    alone("send_of_a_framed_message", |()| {
        let make = || Pipe::simplex().unwrap();
        Operation::new("pipe: send of a framed message", make, send_twice, expect_one_or_both)
            .try_all();
    });
}

/// A message longer than the pipe: pieces of it are in the ring when the writer dies.
#[test]
fn send_of_a_message_in_pieces() {
    alone("send_of_a_message_in_pieces", |()| {
        let make = || Pipe::builder().capacity(512).simplex().unwrap();
        Operation::new("pipe: send of a message in pieces", make, send_twice, expect_one_or_both)
            .try_all();
    });
}

#[test]
fn recv_of_a_message_in_pieces() {
    fn make() -> (Texts, Connection<Vec<u8>, Nothing>) {
        let (mut out, inn) = Pipe::builder().capacity(512).simplex().unwrap();
        out.send(vec![1; 100]).unwrap();
        (inn, out)
    }
    fn victim((mut inn, gate): (Texts, Gate)) {
        begin(gate);
        assert_eq!(inn.recv().unwrap(), [1; 100]);
        end();
    }
    fn check(mut out: Connection<Vec<u8>, Nothing>, _: Fate) {
        let unsent = out.send(vec![3; 100]).unwrap_err();
        assert!(unsent.is_disconnected() && unsent.into_inner() == [3; 100]);
    }
    alone("recv_of_a_message_in_pieces", |()| {
        Operation::new("pipe: recv of a message in pieces", make, victim, check).try_all();
    });
}

#[test]
fn reserve_and_commit() {
    fn victim((mut out, gate): (Connection<Vec<u8>, Nothing>, Gate)) {
        out.send_bytes(&[1; 10]).unwrap();
        begin(gate);
        let mut room = out.reserve(64).unwrap();
        room[..32].fill(2);
        room.commit(32).unwrap();
        end();
    }
    fn check(mut inn: Texts, fate: Fate) {
        assert_eq!(inn.recv_bytes().unwrap(), [1; 10]);
        match inn.recv_bytes() {
            Ok(second) => assert_eq!(second, [2; 32]),
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        assert!(inn.recv_bytes().unwrap_err().is_disconnected());
    }
    alone("reserve_and_commit", |()| {
        let make = || Pipe::simplex().unwrap();
        Operation::new("pipe: reserve and commit", make, victim, check).try_all();
    });
}

#[test]
fn peek_and_consume() {
    fn make() -> (Texts, Connection<Vec<u8>, Nothing>) {
        let (mut out, inn) = Pipe::simplex().unwrap();
        out.send_bytes(&[1; 100]).unwrap();
        (inn, out)
    }
    fn victim((mut inn, gate): (Texts, Gate)) {
        begin(gate);
        let message = inn.peek().unwrap();
        assert_eq!(*message, [1; 100]);
        message.consume().unwrap();
        end();
    }
    fn check(mut out: Connection<Vec<u8>, Nothing>, _: Fate) {
        assert!(out.send_bytes(&[2]).unwrap_err().is_disconnected());
    }
    alone("peek_and_consume", |()| {
        Operation::new("pipe: peek and consume", make, victim, check).try_all();
    });
}

#[test]
fn drop_of_an_end() {
    type Ends = Connection<u8, u8>;
    type Reader = Process<bool>;
    fn hears((mut both, mut say): (Ends, Say)) -> bool {
        say.send(()).unwrap();
        let end = both.recv().unwrap_err();
        // The two directions are closed one after the other.
        let unsent = (0..).find_map(|_| both.send(1).err()).unwrap();
        assert!(end.is_disconnected() && unsent.is_disconnected());
        end.is_peer_dead()
    }
    fn make() -> (Ends, Reader) {
        let (theirs, ours) = Pipe::duplex().unwrap();
        (theirs, sibling(hears, ours))
    }
    fn victim((both, gate): (Ends, Gate)) {
        begin(gate);
        drop(both);
        end();
    }
    fn check(reader: Reader, fate: Fate) {
        let is_peer_dead = reader.join().unwrap();
        assert!(!is_peer_dead || !fate.is_done());
    }
    alone("drop_of_an_end", |()| {
        Operation::new("pipe: drop of an end", make, victim, check).try_all();
    });
}
