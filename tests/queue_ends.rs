//! The ends of queues in other processes: how they get there, and what the others hear when they
//! go, whether they are dropped, leave with their process, or are killed with it.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "forks, and tests that look")]

mod common;

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use common::{alone, assert_killed, die, ends_within, open_fds, pidfd, until, watched};
use multiproc::{
    Connection, ErrorKind, HandleInfo, Nothing, Pipe, Plain, Process, Queue, Receiver, RecvError,
    SendError, Sender,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

fn kind_of_recv<T>(result: Result<T, RecvError>) -> Option<ErrorKind> {
    result.err()?.error().map(multiproc::Error::kind)
}

fn kind_of_send<T>(result: &Result<(), SendError<T>>) -> Option<ErrorKind> {
    result.as_ref().err()?.error().map(multiproc::Error::kind)
}

/// How many handles a queue has that are not its own process's.
fn abroad<T, C, E: multiproc::End>(queue: &Queue<T, C, E>) -> usize {
    let handles = queue.info().handles;
    handles.iter().filter(|handle| handle.pid != std::process::id()).count()
}

#[test]
fn an_end_is_closed_when_its_process_returns() {
    fn sends(mut sender: Sender<u32>) {
        sender.send(1).unwrap();
    }
    fn receives(mut receiver: Receiver<u32>) -> u32 {
        receiver.recv().unwrap()
    }
    watched("an_end_is_closed", || {
        let (sender, mut receiver) = Queue::<u32>::channel(2).unwrap();
        let process = Process::spawn(sends, sender.clone()).unwrap();
        drop(sender);
        assert_eq!(receiver.recv().unwrap(), 1);
        let end = receiver.recv().unwrap_err();
        assert!(end.is_disconnected() && !end.is_peer_dead());
        process.join().unwrap();

        let (mut sender, receiver) = Queue::<u32>::channel(1).unwrap();
        let process = Process::spawn(receives, receiver.clone()).unwrap();
        drop(receiver);
        let unsent = (7..).find_map(|number| sender.send(number).err()).unwrap();
        assert!(unsent.is_disconnected() && !unsent.is_peer_dead());
        assert_eq!(process.join().unwrap(), 7);
    });
}

#[test]
fn a_killed_sender_leaves_what_it_sent_and_then_the_end() {
    fn sends(mut sender: Sender<u32, Plain>) {
        (0..100).for_each(|number| sender.send(number).unwrap());
        die()
    }
    watched("a_killed_sender", || {
        let builder = Queue::builder().codec::<Plain>();
        let (sender, mut receiver) = builder.channel::<u32>(100).unwrap();
        let process = Process::spawn(sends, sender.clone()).unwrap();
        drop(sender);
        assert!((0..100).all(|number| receiver.recv().unwrap() == number));
        let end = receiver.recv().unwrap_err();
        assert!(end.is_disconnected() && end.is_peer_dead(), "{end}");
        assert!(end.to_string().contains("died"), "{end}");
        assert!(receiver.try_recv().unwrap_err().is_peer_dead());
        assert_killed(process.join());
    });
}

#[test]
fn a_killed_receiver_gives_the_senders_their_values_back() {
    fn receives(mut receiver: Receiver<String>) {
        receiver.recv().unwrap();
        die()
    }
    watched("a_killed_receiver", || {
        for polls in [false, true] {
            let (mut sender, receiver) = Queue::<String>::channel(1).unwrap();
            let process = Process::spawn(receives, receiver.clone()).unwrap();
            drop(receiver);
            let mut send = || {
                let text = "text".to_owned();
                if polls { sender.try_send(text) } else { sender.send(text) }
            };
            let unsent = loop {
                match send() {
                    Err(unsent) if unsent.is_full() => thread::yield_now(),
                    Err(unsent) => break unsent,
                    Ok(()) => {}
                }
            };
            assert!(unsent.is_disconnected() && unsent.is_peer_dead(), "{unsent}");
            assert_eq!(unsent.into_inner(), "text");
            assert_killed(process.join());
        }
    });
}

/// The last end is dropped here, in a child, or with a child, in any order.
#[test]
fn the_last_end_of_all_is_what_counts() {
    fn keeps((mut told, sender): (Receiver<bool>, Sender<u8>)) {
        if told.recv().unwrap() {
            die()
        }
        drop(sender);
        assert!(told.recv().unwrap_err().is_disconnected());
    }
    watched("the_last_end_of_all", || {
        for (dies, here_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
            let (mut tell, told) = Queue::<bool>::channel(1).unwrap();
            let process = Process::spawn(keeps, (told, sender.clone())).unwrap();
            let mut sender = Some(sender).filter(|_| !here_first);
            assert!(receiver.try_recv().unwrap_err().is_empty());
            tell.send(dies).unwrap();
            if let Some(sender) = &mut sender {
                until(|| abroad(sender) == 0);
                sender.send(1).unwrap();
                assert_eq!(receiver.recv().unwrap(), 1);
            }
            drop(sender);
            let end = receiver.recv().unwrap_err();
            assert!(end.is_disconnected() && end.is_peer_dead() == dies, "{end}");
            drop(tell);
            assert_eq!(process.join().is_err(), dies);
        }
    });
}

#[test]
fn sleepers_hear_of_a_siblings_death() {
    fn sends((mut sender, mut told): (Sender<u8>, Receiver<()>)) {
        sender.send(7).unwrap();
        told.recv().unwrap();
        die()
    }
    fn receives(mut receiver: Receiver<u8>) -> bool {
        assert_eq!(receiver.recv().unwrap(), 7);
        receiver.recv().unwrap_err().is_peer_dead()
    }
    watched("sleepers_hear", || {
        let (sender, receiver) = Queue::<u8>::channel(1).unwrap();
        let (mut tell, told) = Queue::<()>::channel(1).unwrap();
        let first = Process::spawn(sends, (sender, told)).unwrap();
        let second = Process::spawn(receives, receiver.clone()).unwrap();
        until(|| receiver.info().handles.iter().any(|handle| handle.is_asleep));
        tell.send(()).unwrap();
        assert!(second.join().unwrap());
        assert_killed(first.join());
    });
}

/// First the pid of the orphan, then whether it heard of a death.
type Report = Connection<u32, Nothing>;

/// Outlives its parent, which has the other end and is the only supervisor.
fn orphan((mut receiver, mut report, polls): (Receiver<u8>, Report, bool)) {
    assert_eq!(receiver.recv().unwrap(), 1);
    report.send(std::process::id()).unwrap();
    let heard = loop {
        match if polls { receiver.try_recv() } else { receiver.recv() } {
            Err(nothing) if nothing.is_empty() => thread::yield_now(),
            end => break end.unwrap_err(),
        }
    };
    report.send(heard.is_peer_dead().into()).unwrap();
}

#[test]
fn without_a_supervisor_the_survivor_finds_out_by_itself() {
    fn parent((report, mut told, polls): (Report, Connection<Nothing, ()>, bool)) {
        let (mut sender, receiver) = Queue::<u8>::channel(1).unwrap();
        let child = Process::builder().daemon(false).spawn(orphan, (receiver, report, polls));
        sender.send(1).unwrap();
        told.recv().unwrap();
        drop(child);
        die()
    }
    watched("without_a_supervisor", || {
        for polls in [false, true] {
            let (report, mut heard) = Pipe::simplex::<u32>().unwrap();
            let (mut tell, told) = Pipe::simplex::<()>().unwrap();
            let process = Process::spawn(parent, (report, told, polls)).unwrap();
            heard.recv().unwrap();
            tell.send(()).unwrap();
            assert_killed(process.join());
            assert_eq!(heard.recv().unwrap(), 1);
        }
    });
}

#[test]
fn a_stopped_process_is_not_dead() {
    fn echo((mut receiver, mut sender): (Receiver<u8>, Sender<u8>)) {
        while let Ok(number) = receiver.recv() {
            sender.send(number).unwrap();
        }
    }
    watched("a_stopped_process_is_not_dead", || {
        let (mut there, inn) = Queue::<u8>::channel(1).unwrap();
        let (out, mut back) = Queue::<u8>::channel(1).unwrap();
        let process = Process::spawn(echo, (inn, out)).unwrap();
        there.send(1).unwrap();
        assert_eq!(back.recv().unwrap(), 1);
        process.signal(libc::SIGSTOP).unwrap();
        there.send(2).unwrap();
        // Several backstops long, each of which suspects the peer.
        assert!(back.recv_timeout(Duration::from_millis(450)).unwrap_err().is_timeout());
        process.signal(libc::SIGCONT).unwrap();
        assert_eq!(back.recv().unwrap(), 2);
        drop(there);
        process.join().unwrap();
    });
}

#[test]
fn what_the_dead_held_is_lost_and_counted_or_delivered_again() {
    fn holds((mut queue, mut told): (Receiver<u64>, Sender<()>)) {
        assert_eq!(queue.recv().unwrap(), 1);
        let held = queue.recv_guard().unwrap();
        assert_eq!(held.get().unwrap(), 2);
        told.send(()).unwrap();
        die()
    }
    watched("what_the_dead_held", || {
        for redelivers in [false, true] {
            let builder = Queue::builder().redeliver(redelivers);
            let mut queue = builder.bounded::<u64>(8).unwrap();
            queue.send_batch(&mut vec![1, 2, 3]).unwrap();
            let (tell, mut told) = Queue::<()>::channel(1).unwrap();
            let process = Process::spawn(holds, (queue.receiver().unwrap(), tell)).unwrap();
            told.recv().unwrap();
            assert_killed(process.join());
            let is_settled = |one: &HandleInfo| one.is_orphan || one.pid == std::process::id();
            until(|| queue.info().handles.iter().all(is_settled));
            if redelivers {
                assert_eq!(queue.recv().unwrap(), 2);
            }
            assert_eq!(queue.recv().unwrap(), 3);
            assert!(queue.try_recv().unwrap_err().is_empty());
            let stats = queue.stats();
            let others = (stats.lost, stats.redelivered);
            assert_eq!(others, if redelivers { (0, 1) } else { (1, 0) });
            assert_eq!((stats.sent, stats.received + stats.lost, stats.in_flight), (3, 3, 0));
            assert_eq!(queue.info().handles.len(), 1);
        }
    });
}

/// What is written into the place of a message that a forgotten guard held is not delivered for it.
#[test]
fn a_draft_is_not_delivered_for_a_forgotten_message() {
    fn forgets(mut queue: Queue<u64>) {
        std::mem::forget(queue.recv_guard().unwrap());
        queue.reserve(8).unwrap().fill(0xff);
        std::mem::forget(queue.reserve(8));
        die()
    }
    watched("a_draft_is_not_delivered", || {
        let mut queue = Queue::builder().redeliver(true).bounded::<u64>(8).unwrap();
        queue.send(1).unwrap();
        assert_killed(Process::spawn(forgets, queue.clone()).unwrap().join());
        until(|| queue.info().handles.len() == 1);
        queue.close();
        assert!(queue.recv().unwrap_err().is_disconnected());
        assert_eq!((queue.stats().received, queue.stats().redelivered), (1, 0));
    });
}

/// A guard that nobody drops is let go of with the next message, or with its handle, also where the
/// message is that of a dead receiver.
#[test]
fn a_forgotten_inheritance_is_let_go_of() {
    fn dies(mut queue: Receiver<u64>) {
        let _held = queue.recv_guard().unwrap();
        die()
    }
    watched("a_forgotten_inheritance", || {
        let mut queue = Queue::builder().redeliver(true).bounded::<u64>(8).unwrap();
        let mut heir = queue.receiver().unwrap();
        for number in [1, 2] {
            queue.send(number).unwrap();
            assert_killed(Process::spawn(dies, queue.receiver().unwrap()).unwrap().join());
            let held = heir.recv_guard().unwrap();
            assert_eq!(held.get().unwrap(), number);
            std::mem::forget(held);
            queue.send(3).unwrap();
            if number == 1 {
                assert_eq!(heir.recv().unwrap(), 3);
                assert_eq!((queue.stats().in_flight, queue.info().handles.len()), (0, 2));
            }
        }
        drop(heir);
        assert_eq!((queue.stats().in_flight, queue.stats().redelivered), (1, 2));
        assert_eq!(queue.info().handles.len(), 1);
        queue.close();
        assert_eq!(queue.iter().collect::<Vec<_>>(), [3]);
    });
}

/// Two can be redelivered to one; nobody who waits misses them, and the end comes behind them.
#[test]
fn the_heirs_of_the_dead_get_everything_before_the_end() {
    fn holds((mut queue, mut told): (Receiver<u64>, Sender<()>)) {
        let _held = queue.recv_guard().unwrap();
        told.send(()).unwrap();
        loop {
            thread::park();
        }
    }
    watched("the_heirs_of_the_dead", || {
        let mut queue = Queue::builder().redeliver(true).bounded::<u64>(8).unwrap();
        queue.send_batch(&mut vec![1, 2]).unwrap();
        let (tell, mut told) = Queue::<()>::channel(2).unwrap();
        let hold = || Process::spawn(holds, (queue.receiver().unwrap(), tell.clone())).unwrap();
        let holders = [hold(), hold()];
        told.recv().unwrap();
        told.recv().unwrap();
        let mut heir = queue.receiver().unwrap();
        queue.close();
        drop(queue);
        let waits = thread::spawn(move || {
            let mut inherited: Vec<u64> = heir.iter().collect();
            inherited.sort_unstable();
            (inherited, heir.stats())
        });
        holders.iter().for_each(|holder| holder.kill().unwrap());
        let (inherited, stats) = waits.join().unwrap();
        assert_eq!(inherited, [1, 2]);
        assert_eq!((stats.received, stats.in_flight, stats.redelivered), (2, 0, 2));
        holders.into_iter().for_each(|holder| assert_killed(holder.join()));
    });
}

/// A long message in the hands of the dead, written or read, takes its memory with it, but not
/// away.
#[test]
fn memory_in_the_hands_of_the_dead_comes_back() {
    const LONG: usize = 300_000;
    fn writes(mut queue: Queue<Vec<u8>>) {
        queue.reserve(LONG).unwrap().fill(1);
        let mut slot = queue.reserve(LONG).unwrap();
        slot.fill(2);
        die()
    }
    fn reads(mut queue: Queue<Vec<u8>>) {
        let held = queue.recv_guard().unwrap();
        assert_eq!(held.bytes().len(), LONG);
        die()
    }
    fn comes_and_goes(queue: &mut Queue<Vec<u8>>) {
        for _ in 0..4 {
            assert_killed(Process::spawn(writes, queue.clone()).unwrap().join());
            queue.send_bytes(&[3; LONG]).unwrap();
            assert_killed(Process::spawn(reads, queue.clone()).unwrap().join());
            while queue.stats().redelivered + queue.stats().lost < queue.stats().sent {
                let _ = queue.recv_guard_timeout(Duration::from_millis(1));
            }
        }
        queue.send_bytes(&[3; 3 * LONG]).unwrap();
        assert_eq!(queue.recv_guard().unwrap().bytes().len(), 3 * LONG);
    }
    watched("memory_in_the_hands_of_the_dead", || {
        let builder = || Queue::builder().memory(1 << 20);
        comes_and_goes(&mut builder().bounded(8).unwrap());
        comes_and_goes(&mut builder().redeliver(true).bounded(8).unwrap());
    });
}

/// A user's own type with handles in it.
#[derive(Debug, Serialize, Deserialize)]
struct Office {
    name: String,
    inbox: Receiver<String>,
    outbox: Option<Sender<String>>,
    shelves: Vec<Queue<u8, Plain>>,
}

#[test]
fn queues_travel_in_structs_as_arguments_and_results() {
    fn work(mut office: Office) -> Office {
        let text = office.inbox.recv().unwrap();
        let outbox = office.outbox.as_mut().unwrap();
        outbox.send(format!("{text} {}", office.name)).unwrap();
        for (number, shelf) in office.shelves.iter_mut().enumerate() {
            shelf.send(number as u8).unwrap();
        }
        office
    }
    watched("queues_travel_in_structs", || {
        let (mut there, inbox) = Queue::<String>::channel(2).unwrap();
        let (outbox, mut back) = Queue::<String>::channel(2).unwrap();
        let shelf = || Queue::builder().codec::<Plain>().bounded::<u8>(4).unwrap();
        let mut shelves: Vec<_> = (0..3).map(|_| shelf()).collect();
        let mut office = Office {
            name: "office".to_owned(),
            inbox,
            outbox: Some(outbox),
            shelves: shelves.clone(),
        };
        for round in 0..3 {
            there.send(format!("{round}")).unwrap();
            let process = Process::spawn(work, office).unwrap();
            assert_eq!(back.recv().unwrap(), format!("{round} office"));
            for (number, shelf) in shelves.iter_mut().enumerate() {
                assert_eq!(usize::from(shelf.recv().unwrap()), number);
            }
            office = process.join().unwrap();
            // The handles came home, and left none behind.
            assert_eq!((there.info().handles.len(), abroad(&there)), (2, 0));
            assert!(shelves.iter().all(|shelf| shelf.info().handles.len() == 2));
        }
        drop(office);
        assert!(back.recv().unwrap_err().is_disconnected());
        assert!(there.send(String::new()).unwrap_err().is_disconnected());
    });
}

#[test]
fn queues_travel_through_connections() {
    type In = Connection<Nothing, Queue<u64>>;
    type Out = Connection<Queue<u64>, Nothing>;
    fn relay((mut inn, mut out): (In, Out)) {
        while let Ok(mut queue) = inn.recv() {
            queue.send(queue.len() as u64).unwrap();
            out.send(queue).unwrap();
        }
    }
    watched("queues_travel_through_connections", || {
        let (mut there, inn) = Pipe::simplex().unwrap();
        let (out, mut back) = Pipe::simplex().unwrap();
        let process = Process::spawn(relay, (inn, out)).unwrap();
        let mut queue = Queue::builder().handles(4).bounded(4).unwrap();
        for _ in 0..100 {
            queue.send(9).unwrap();
            there.send(queue.clone()).unwrap();
            let mut arrived: Queue<u64> = back.recv().unwrap();
            assert_eq!((arrived.recv().unwrap(), queue.recv().unwrap()), (9, 1));
            drop(arrived);
        }
        drop(there);
        process.join().unwrap();
        assert_eq!(queue.info().handles.len(), 1);
    });
}

/// A handle in a parcel counts as an end; one in a parcel that nobody opens is none.
#[test]
fn a_handle_on_its_way_is_an_end_until_its_parcel_is_lost() {
    watched("a_handle_on_its_way", || {
        let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
        let (mut there, mut here) = Pipe::simplex::<Sender<u8>>().unwrap();
        there.send(sender).unwrap();
        assert!(receiver.try_recv().unwrap_err().is_empty());
        let mut sender = here.recv().unwrap();
        sender.send(1).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1);
        there.send(sender).unwrap();
        drop(there);
        drop(here);
        assert!(receiver.recv_timeout(LONG).unwrap_err().is_disconnected());
    });
}

#[test]
fn a_handle_that_is_sent_to_the_dead_is_closed() {
    fn never_reads(mut inn: Connection<Nothing, Receiver<u8>>) {
        let _ = inn.poll(Duration::MAX);
        die()
    }
    watched("a_handle_that_is_sent_to_the_dead", || {
        let (mut here, there) = Pipe::simplex().unwrap();
        let process = Process::spawn(never_reads, there).unwrap();
        let (mut sender, receiver) = Queue::<u8>::channel(1).unwrap();
        here.send(receiver).unwrap();
        assert_killed(process.join());
        let unsent = (0..).find_map(|number| sender.send(number).err()).unwrap();
        assert!(unsent.is_disconnected());
    });
}

#[test]
fn an_argument_of_a_process_that_dies_at_once_is_closed() {
    fn dies(_: Sender<u8>) {
        die()
    }
    watched("an_argument_of_a_process_that_dies", || {
        for _ in 0..20 {
            let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
            let process = Process::spawn(dies, sender).unwrap();
            assert!(receiver.recv().unwrap_err().is_peer_dead());
            assert_killed(process.join());
            assert_eq!(receiver.info().handles.len(), 1);
        }
    });
}

/// Is packed as one thing and unpacked as another.
#[derive(Debug)]
enum Disguise<From, To> {
    Packed(From),
    Unpacked(To),
}

impl<From: Serialize, To> Serialize for Disguise<From, To> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Packed(from) => from.serialize(serializer),
            Self::Unpacked(_) => Err(serde::ser::Error::custom("unpacked already")),
        }
    }
}

impl<'de, From, To: Deserialize<'de>> Deserialize<'de> for Disguise<From, To> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        To::deserialize(deserializer).map(Self::Unpacked)
    }
}

#[test]
fn a_queue_arrives_as_what_it_is_or_not_at_all() {
    fn disguised<To>(queue: &Queue<u8>)
    where
        To: for<'de> Deserialize<'de> + std::fmt::Debug,
    {
        let (mut there, mut here) = Pipe::simplex::<Disguise<Sender<u8>, To>>().unwrap();
        there.send(Disguise::Packed(queue.sender().unwrap())).unwrap();
        let error = here.recv().unwrap_err();
        assert_eq!(kind_of_recv::<()>(Err(error)), Some(ErrorKind::Codec));
        assert_eq!(queue.info().handles.len(), 1);
    }
    watched("a_queue_arrives_as_what_it_is", || {
        let mut queue = Queue::<u8>::bounded(1).unwrap();
        disguised::<Queue<u8>>(&queue);
        disguised::<Receiver<u8>>(&queue);
        disguised::<Sender<u16>>(&queue);
        disguised::<Sender<u8, Plain>>(&queue);
        queue.send(1).unwrap();
        assert_eq!(queue.recv().unwrap(), 1);
    });
}

#[test]
fn outside_a_parcel_a_queue_refuses_to_be_serialized() {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let error = serde_json::to_string(&queue).unwrap_err().to_string();
    assert!(error.contains("outside a parcel") && error.contains("connections"), "{error}");
    let ticket = r#"{"block":0,"handle":0,"fingerprint":0}"#;
    let error = serde_json::from_str::<Queue<u8>>(ticket).unwrap_err().to_string();
    assert!(error.contains("outside a parcel"), "{error}");
    assert_eq!(queue.info().handles.len(), 1);
}

/// Packs a handle and then fails.
struct Half(Queue<u8>);

impl Serialize for Half {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.0)?;
        Err(serde::ser::Error::custom("and no further"))
    }
}

#[test]
fn a_parcel_that_is_not_sent_gives_its_handles_back() {
    fn never(_: u8) {}
    watched("a_parcel_that_is_not_sent", || {
        let queue = Queue::builder().handles(2).bounded::<u8>(1).unwrap();
        let (mut there, _here) = Pipe::simplex::<Disguise<Half, u8>>().unwrap();
        for _ in 0..5 {
            let unsent = there.send(Disguise::Packed(Half(queue.clone())));
            assert!(unsent.is_err());
            drop(unsent);
            assert_eq!(queue.info().handles.len(), 1);
        }
        assert!(Process::spawn(never, 1).unwrap().join().is_ok());
    });
}

/// Nobody supervises it, and nobody waits for it: who wants its handle has to ask.
#[test]
fn the_handles_of_the_dead_are_there_for_whoever_wants_one() {
    type Told = Connection<Nothing, ()>;
    fn holds((_queue, mut report, mut told): (Queue<u8>, Report, Told)) {
        report.send(std::process::id()).unwrap();
        told.recv().unwrap();
        die()
    }
    fn middle(holder: (Queue<u8>, Report, Told)) {
        Process::builder().daemon(false).spawn(holds, holder).unwrap().join().unwrap();
    }
    watched("the_handles_of_the_dead", || {
        for _ in 0..20 {
            let queue = Queue::builder().handles(4).bounded::<u8>(1).unwrap();
            let (report, mut heard) = Pipe::simplex::<u32>().unwrap();
            let (mut tell, told) = Pipe::simplex::<()>().unwrap();
            let process = Process::spawn(middle, (queue.clone(), report, told)).unwrap();
            let orphan = pidfd(heard.recv().unwrap());
            process.kill().unwrap();
            assert_killed(process.join());
            tell.send(()).unwrap();
            assert!(ends_within(orphan.as_fd(), LONG));
            let _handles = [(); 3].map(|()| queue.try_clone().unwrap());
            assert_eq!(queue.try_clone().unwrap_err().kind(), ErrorKind::Limit);
        }
    });
}

#[test]
fn a_copy_uses_what_it_captured_and_closes_it_at_the_end() {
    alone("captured", |()| {
        let (mut there, mut inn) = Queue::<u8>::channel(2).unwrap();
        let (mut out, mut back) = Queue::<u8>::channel(2).unwrap();
        let answer = move || {
            let number = inn.recv().unwrap();
            out.send(number + 1).unwrap();
            number
        };
        let child = unsafe { Process::fork(answer) }.unwrap();
        there.send(1).unwrap();
        assert_eq!(back.recv().unwrap(), 2);
        let end = back.recv().unwrap_err();
        assert!(end.is_disconnected() && !end.is_peer_dead());
        assert!(there.send(2).unwrap_err().is_disconnected());
        assert_eq!(child.join().unwrap(), 1);
        assert_eq!((there.info().handles.len(), back.info().handles.len()), (1, 1));
    });
}

/// What is captured by reference is still the parent's: the copy gets a handle of its own.
#[test]
fn a_copy_and_its_parent_use_the_same_queue() {
    alone("by reference", |()| {
        let mut queue = Queue::builder().handles(4).bounded::<u64>(8).unwrap();
        let mut held = queue.clone();
        queue.send_batch(&mut vec![1, 2, 3]).unwrap();
        assert_eq!(queue.recv().unwrap(), 1);
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let (mut say, mut said) = Pipe::simplex::<()>().unwrap();
        let child = unsafe {
            Process::fork(|| {
                told.recv().unwrap();
                assert_eq!(queue.len(), 2);
                assert_eq!(queue.recv().unwrap(), 2);
                say.send(()).unwrap();
                (0..1000).for_each(|number| queue.send_timeout(number, LONG).unwrap());
                // Its own, and the two of the parent's.
                assert_eq!(queue.info().handles.len(), 3);
                say.send(()).unwrap();
                told.recv().unwrap_err();
                let free = queue.try_clone();
                drop(free.unwrap());
                // What was the parent's when it was copied stays the parent's.
                assert_eq!(held.try_recv().unwrap(), 100_000);
            })
        };
        let child = child.unwrap();
        tell.send(()).unwrap();
        said.recv().unwrap();
        assert_eq!(queue.recv().unwrap(), 3);
        for number in 0..1000 {
            assert_eq!(queue.recv().unwrap(), number);
        }
        said.recv().unwrap();
        assert_eq!(held.try_recv().err().map(|none| none.is_empty()), Some(true));
        drop(held);
        queue.send(100_000).unwrap();
        drop(tell);
        child.join().unwrap();
        until(|| queue.info().handles.len() == 1);
        queue.send(5).unwrap();
        assert_eq!(queue.recv().unwrap(), 5);
    });
}

#[test]
fn a_message_held_across_a_fork_is_the_parents() {
    alone("held across a fork", |()| {
        let mut queue = Queue::builder().joinable(true).bounded::<u64>(8).unwrap();
        queue.send_batch(&mut vec![1, 2]).unwrap();
        let held = queue.recv_guard().unwrap();
        unsafe { Process::fork(move || drop(held)) }.unwrap().join().unwrap();
        queue.task_done().unwrap();
        assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(queue.stats().received, 1);
        assert_eq!(queue.recv().unwrap(), 2);
        let slot = queue.reserve(1).unwrap();
        let sends = move || kind_of_send(&slot.send()) == Some(ErrorKind::Forked);
        assert!(unsafe { Process::fork(sends) }.unwrap().join().unwrap());
        assert!(queue.is_empty());
    });
}

#[test]
fn what_a_copy_drops_unused_is_closed_while_it_lives() {
    alone("dropped in a copy", |()| {
        let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let drops = move || {
            told.recv().unwrap();
            drop(sender);
            told.recv().unwrap_err().is_disconnected()
        };
        let child = unsafe { Process::fork(drops) }.unwrap();
        assert!(receiver.try_recv().unwrap_err().is_empty());
        tell.send(()).unwrap();
        let end = receiver.recv().unwrap_err();
        assert!(end.is_disconnected() && !end.is_peer_dead());
        drop(tell);
        assert!(child.join().unwrap());
    });
}

#[test]
fn what_a_copy_captured_travels_on() {
    alone("sent by a copy", |()| {
        let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let (mut on, mut arrives) = Pipe::simplex::<Sender<u8>>().unwrap();
        let sends = move || {
            told.recv().unwrap();
            // It was inherited, and is now used.
            assert_eq!(sender.len(), 0);
            on.send(sender).unwrap();
        };
        let child = unsafe { Process::fork(sends) }.unwrap();
        tell.send(()).unwrap();
        child.join().unwrap();
        let mut sender = arrives.recv().unwrap();
        sender.send(42).unwrap();
        assert_eq!(receiver.recv().unwrap(), 42);
        drop(sender);
        assert!(receiver.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn copies_that_die_at_once_close_what_they_captured() {
    alone("short-lived copies", |()| {
        let queue = Queue::builder().handles(2).bounded::<u8>(1).unwrap();
        for _ in 0..100 {
            let (sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
            let other = queue.try_clone().unwrap();
            let dies = move || {
                let _kept = (&sender, &other);
                die()
            };
            let child = unsafe { Process::<()>::fork(dies) }.unwrap();
            assert!(receiver.recv().unwrap_err().is_disconnected());
            assert_killed(child.join());
        }
    });
}

/// Copies with handles of their own and handles of their parent's, killed in the middle of it.
#[test]
fn copies_that_are_killed_leave_a_queue_that_works() {
    alone("killed copies", |()| {
        let mut queue = Queue::builder().handles(7).bounded::<u64>(4).unwrap();
        for round in 0..150 {
            let moved = queue.sender().unwrap();
            let mut kept = queue.receiver().unwrap();
            let mut other = kept.try_clone().unwrap();
            let copy = unsafe {
                Process::<()>::fork(|| {
                    // Moved, as it is used by value; the other one is borrowed.
                    let mut sender = moved;
                    for number in 0.. {
                        let _ = sender.try_send(number);
                        let _ = kept.try_recv();
                    }
                })
            };
            let copy = copy.unwrap();
            for number in 0..round % 50 {
                let _ = queue.try_send(number);
                let _ = other.try_recv();
            }
            copy.kill().unwrap();
            for number in 0..20 {
                let _ = kept.recv_timeout(Duration::ZERO);
                queue.send_timeout(number, LONG).unwrap();
                while other.try_recv().is_ok() {}
            }
            assert_killed(copy.join());
            drop((kept, other));
            until(|| queue.info().handles.len() == 1);
        }
        while queue.try_recv().is_ok() {}
        let stats = queue.stats();
        assert_eq!((stats.received + stats.lost, stats.in_flight), (stats.sent, 0));
    });
}

/// Runs `body` in a copy of this process that was made behind the library's back.
fn in_a_bare_fork(body: impl FnOnce()) {
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the copy failed");
}

#[test]
fn an_inherited_handle_says_forked_and_the_parent_keeps_it() {
    alone("inherited", |()| {
        let mut queue = Queue::builder().joinable(true).bounded::<u8>(4).unwrap();
        let (mut sender, mut receiver) = Queue::<u8>::channel(2).unwrap();
        queue.send_batch(&mut vec![1, 2]).unwrap();
        sender.send(3).unwrap();
        let mut all = Some((queue, sender));
        in_a_bare_fork(|| {
            let (mut queue, mut sender) = all.take().unwrap();
            assert_eq!(kind_of_send(&queue.send(9)), Some(ErrorKind::Forked));
            assert_eq!(kind_of_send(&sender.try_send(9)), Some(ErrorKind::Forked));
            assert_eq!(kind_of_recv(queue.recv()), Some(ErrorKind::Forked));
            assert_eq!(kind_of_recv(queue.recv_guard()), Some(ErrorKind::Forked));
            assert_eq!(kind_of_send(&sender.reserve(1).map(drop)), Some(ErrorKind::Forked));
            assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::Forked);
            assert_eq!(queue.join().unwrap_err().kind(), ErrorKind::Forked);
            assert_eq!(queue.try_clone().unwrap_err().kind(), ErrorKind::Forked);
            assert_eq!(sender.sender().unwrap_err().kind(), ErrorKind::Forked);
            let (mut there, _here) = Pipe::simplex::<Sender<u8>>().unwrap();
            assert!(there.send(sender).is_err());
            // Queues of its own work.
            let mut own = Queue::<u8>::bounded(1).unwrap();
            own.send(1).unwrap();
            assert_eq!(own.recv().unwrap(), 1);
        });
        let (mut queue, mut sender) = all.take().unwrap();
        assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (1, 2));
        sender.send(4).unwrap();
        assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (3, 4));
        assert!(receiver.try_recv().unwrap_err().is_empty());
        assert_eq!(queue.info().handles.len(), 1);
        drop(sender);
        assert!(!receiver.recv().unwrap_err().is_peer_dead());
    });
}

#[test]
fn handles_that_come_and_go_leave_nothing() {
    alone("handles that come and go", |()| {
        let mut queue = Queue::builder().handles(3).bounded::<u64>(2).unwrap();
        let fds = open_fds();
        for number in 0..1000 {
            let mut other = queue.try_clone().unwrap();
            let third = other.receiver().unwrap();
            other.send(number).unwrap();
            drop(third);
            drop(other);
            assert_eq!(queue.recv().unwrap(), number);
        }
        assert_eq!(queue.info().handles.len(), 1);
        assert!(open_fds() <= fds);
    });
}

/// What may go to other threads, and be looked at from them, does not change by accident.
#[test]
fn handles_and_guards_are_send_and_sync() {
    fn is<T: Send + Sync>() {}
    is::<multiproc::Queue<String>>();
    is::<multiproc::Sender<u64, Plain>>();
    is::<multiproc::Receiver<u64, Plain>>();
    is::<multiproc::QueueSlot<'_, String, multiproc::Serde>>();
    is::<multiproc::Received<'_, u64, Plain>>();
}
