//! Queues with many senders and many receivers, beside channels between threads, which have it
//! easier, and beside what crosses between processes.
//!
//! Streams are timed from a common start until the last message is received. Where the crews
//! outnumber the CPUs, what is timed is also how well the waiting is done.

mod channels;
mod support;

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use channels::kernel::{Kernel, pipe_in_batches};
use channels::processes::{IpcChannel, Shaq};
use channels::python::python;
use channels::threads::{Crossbeam, Kanal};
use channels::{CAPACITY, Load, Shape, round_trip, spinning, stream, to_sleeper};
use multiproc::{Codec, Plain, Queue, Receiver, Sender, Serde};
use support::memory::{SharedBytes, lines};
use support::peer::{all_cpus, with_process};
use support::{Contender, Goal, Table, copies, floor, pin, start};

/// The size of a large message.
const MIB: usize = 1 << 20;

/// Large messages that fit into a queue.
const LARGE_CAPACITY: usize = 4;

const ONE: Shape = Shape { senders: 1, receivers: 1 };
const TWO: Shape = Shape { senders: 2, receivers: 2 };
const FOUR: Shape = Shape { senders: 4, receivers: 4 };
const EIGHT: Shape = Shape { senders: 8, receivers: 8 };

fn main() {
    let rounds = start("queue", 60);
    pin();
    one_thread(rounds);
    one_to_one::<u64>("u64", "7", rounds);
    one_to_one::<[u64; 7]>("56 bytes", "bytes(56)", rounds);
    many_to_many::<u64>("2P2C, u64", TWO, "7", rounds);
    many_to_many::<[u64; 7]>("2P2C, 56 bytes", TWO, "bytes(56)", rounds);
    many_to_many::<u64>("4P4C, u64", FOUR, "7", rounds);
    many_to_many::<[u64; 7]>("4P4C, 56 bytes", FOUR, "bytes(56)", rounds);
    strings(rounds);
    crowded(rounds);
    one_way(rounds);
    large(rounds);
}

/// What every message pays at least: in and out again, with nobody to wait for.
fn one_thread(rounds: usize) {
    let ring = crossbeam_queue::ArrayQueue::new(CAPACITY);
    let (crossbeam_in, crossbeam_out) = crossbeam_channel::bounded(CAPACITY);
    let (kanal_in, kanal_out) = kanal::bounded(CAPACITY);
    let list = Mutex::new(VecDeque::with_capacity(CAPACITY));
    let mut queue = plain::<u64>();
    let mut queue_in = queue.sender().expect("a handle");
    let mut queue_out = queue.receiver().expect("a handle");
    Table::new("u64, in and out again in one thread")
        .row(pair("crossbeam-queue's ArrayQueue", move |number| {
            ring.push(number).expect("room");
            ring.pop().expect("a message")
        }))
        .row(pair("crossbeam-channel", move |number| {
            crossbeam_in.send(number).expect("a receiver");
            crossbeam_out.recv().expect("a message")
        }))
        .row(pair("kanal", move |number| {
            kanal_in.send(number).expect("a receiver");
            kanal_out.recv().expect("a message")
        }))
        .row(pair("VecDeque in a Mutex", move |number| {
            list.lock().expect("a list").push_back(number);
            list.lock().expect("a list").pop_front().expect("a message")
        }))
        .row(pair("multiproc, one handle", move |number| {
            queue.send(number).expect("a receiver");
            queue.recv().expect("a message")
        }))
        .row(pair("multiproc, two ends", move |number| {
            queue_in.send(number).expect("a receiver");
            queue_out.recv().expect("a message")
        }))
        .run(rounds * 3);
}

fn pair(name: &str, mut pass: impl FnMut(u64) -> u64 + 'static) -> Contender {
    Contender::new(name, move |iterations| {
        let start = Instant::now();
        for number in 0..iterations {
            assert_eq!(pass(black_box(number)), number);
        }
        start.elapsed()
    })
}

fn one_to_one<M: Load + Pod>(what: &str, python_message: &str, rounds: usize)
where
    Serde: Codec<M>,
{
    let fenced = Queue::builder().codec::<Plain>().fenced(true).bounded::<M>(CAPACITY);
    let serde = Queue::<M>::bounded(CAPACITY);
    Table::new(&format!("1P1C, {what}, each message"))
        .over(floor())
        .row(stream("crossbeam-channel, threads", ONE, Crossbeam::<M>::new()))
        .row(stream("kanal, threads", ONE, Kanal::<M>::new()))
        .row(stream("multiproc", ONE, plain::<M>()).aiming_at(Goal::Speed(0.9)))
        .row(stream("multiproc, fenced mode", ONE, fenced.expect("a queue")))
        .row(stream("multiproc, serde", ONE, serde.expect("a queue")))
        .row(stream("shaq", ONE, Shaq::<M>::new()))
        .row(stream("ipc-channel", ONE, IpcChannel::<M>::new()))
        .row(stream("pipe(2)", ONE, Kernel::<M>::pipe()))
        .row(pipe_in_batches::<M>("pipe(2), PIPE_BUF at once", ONE))
        .row(python("Python's Queue", ONE, python_message))
        .run(rounds);
}

fn many_to_many<M: Load + Pod>(title: &str, shape: Shape, python_message: &str, rounds: usize) {
    Table::new(&format!("{title}, each message"))
        .row(stream("crossbeam-channel, threads", shape, Crossbeam::<M>::new()))
        .row(stream("kanal, threads", shape, Kanal::<M>::new()))
        .row(stream("multiproc", shape, plain::<M>()).aiming_at(Goal::Speed(1.0)))
        .row(shaq::<M>(shape))
        .row(stream("pipe(2)", shape, Kernel::<M>::pipe()))
        .row(pipe_in_batches::<M>("pipe(2), PIPE_BUF at once", shape))
        .row(python("Python's Queue", shape, python_message))
        .run(rounds);
}

/// Row: its senders spin until those before them are done, so where many of them share a CPU, a
/// message takes as long as the scheduler's slices. Left out there: no sample would end.
fn shaq<M: Load + Pod>(shape: Shape) -> Option<Contender> {
    let workers = shape.senders + shape.receivers;
    (workers <= 2 * all_cpus().len()).then(|| stream("shaq", shape, Shaq::<M>::new()))
}

fn strings(rounds: usize) {
    let message = "'thirty-two bytes and no number..'";
    Table::new("1P1C, strings of 32 bytes, each message")
        .over(floor())
        .row(stream("ipc-channel", ONE, IpcChannel::<String>::new()))
        .row(stream("multiproc", ONE, text()).aiming_at(Goal::Speed(20.0)))
        .row(stream("crossbeam-channel, threads", ONE, Crossbeam::<String>::new()))
        .row(python("Python's Queue", ONE, message))
        .run(rounds);
}

/// More and more processes on the CPUs that there are.
fn crowded(rounds: usize) {
    Table::new("u64, more workers than CPUs, each message")
        .row(stream("multiproc, 1P1C", ONE, plain::<u64>()))
        .row(stream("multiproc, 2P2C", TWO, plain::<u64>()))
        .row(stream("multiproc, 4P4C", FOUR, plain::<u64>()))
        .row(stream("multiproc, 8P8C", EIGHT, plain::<u64>()).aiming_at(Goal::Speed(0.5)))
        .row(stream("crossbeam-channel, threads, 1P1C", ONE, Crossbeam::<u64>::new()))
        .row(stream("crossbeam-channel, threads, 8P8C", EIGHT, Crossbeam::<u64>::new()))
        .run(rounds);
}

fn one_way(rounds: usize) {
    Table::new("One message, one way, spinning")
        .over(floor())
        .row(spinning("multiproc, u64", plain::<u64>(), plain()))
        .row(spinning("multiproc, 56 bytes", plain::<[u64; 7]>(), plain()))
        .row(spinning("shaq, u64", Shaq::<u64>::new(), Shaq::new()))
        .run(rounds * 3);
    Table::new("One message, one way, as a user sends and receives")
        .over(floor())
        .row(round_trip("multiproc, u64", plain::<u64>(), plain()))
        .row(round_trip("multiproc, 56 bytes", plain::<[u64; 7]>(), plain()))
        .row(round_trip("multiproc, String of 32 bytes", text(), text()))
        .row(round_trip("shaq, u64", Shaq::<u64>::new(), Shaq::new()))
        .row(round_trip("kanal, threads, u64", Kanal::<u64>::new(), Kanal::new()))
        .row(round_trip(
            "crossbeam-channel, threads, u64",
            Crossbeam::<u64>::new(),
            Crossbeam::new(),
        ))
        .row(round_trip("pipe(2), 8 bytes", Kernel::<u64>::pipe(), Kernel::pipe()))
        .run(rounds * 3);
    Table::new("One message to somebody asleep, and its answer")
        .row(to_sleeper(
            "crossbeam-channel, threads, u64",
            Crossbeam::<u64>::new(),
            Crossbeam::new(),
        ))
        .row(to_sleeper("kanal, threads, u64", Kanal::<u64>::new(), Kanal::new()))
        .row(to_sleeper("multiproc, u64", plain::<u64>(), plain()))
        .row(to_sleeper("shaq, u64", Shaq::<u64>::new(), Shaq::new()))
        .row(to_sleeper("pipe(2), 8 bytes", Kernel::<u64>::pipe(), Kernel::pipe()))
        .run(rounds);
}

fn large(rounds: usize) {
    let looked_at = |message: &[u8]| assert_eq!(message[0], message[MIB - 1]);
    Table::new("1 MiB")
        .row(copies("memcpy, one copy", MIB, 1))
        .row(in_place("multiproc, in place, one thread", in_one_thread))
        .row(in_place("multiproc, in place, two processes", |ends| across(ends, looked_at)))
        .run(rounds * 3);
    Table::new("1 MiB, every byte read on the other CPU")
        .row(copy_and_read_across())
        .row(in_place("multiproc, in place", |ends| across(ends, read)))
        .run(rounds * 3);
}

type Ends = (Sender<()>, Receiver<()>);

/// Row: built in place and received in place. None where messages of this size cannot be built.
fn in_place<R: FnMut(u64) -> Duration + 'static>(
    name: &str,
    run: impl FnOnce(Ends) -> R,
) -> Option<Contender> {
    let (mut sender, receiver) = Queue::<()>::channel(LARGE_CAPACITY).expect("a queue");
    if let Err(error) = sender.reserve(MIB) {
        println!("\n{name}: not yet ({error}).");
        return None;
    }
    Some(Contender::new(name, run((sender, receiver))).aiming_at(Goal::Time(1.1)))
}

fn in_one_thread((mut sender, mut receiver): Ends) -> impl FnMut(u64) -> Duration {
    let source = vec![1; MIB];
    move |iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            let mut message = sender.reserve(MIB).expect("room");
            message.copy_from_slice(black_box(&source));
            message.send().expect("a receiver");
            let message = receiver.recv_guard().expect("a message");
            assert_eq!(black_box(message.bytes()).len(), MIB);
        }
        start.elapsed()
    }
}

fn across(
    (mut sender, mut receiver): Ends,
    look: impl Fn(&[u8]) + 'static,
) -> impl FnMut(u64) -> Duration {
    let receive = move |iterations| {
        for _ in 0..iterations {
            let message = receiver.recv_guard().expect("a message");
            assert_eq!(message.bytes().len(), MIB);
            look(message.bytes());
        }
    };
    let source = vec![1; MIB];
    let send = move |iterations| {
        for _ in 0..iterations {
            let mut message = sender.reserve(MIB).expect("room");
            message.copy_from_slice(black_box(&source));
            message.send().expect("a receiver");
        }
    };
    with_process(receive, send)
}

/// Reads every byte, as fast as that goes.
fn read(message: &[u8]) {
    let words = bytemuck::cast_slice::<u8, u64>(message).iter();
    assert_eq!(black_box(words.fold(0_u64, |sum, word| sum.wrapping_add(*word))) & 0xff, 0);
}

/// Row: one copy in here, every byte read on the other CPU: with one buffer, in turn.
fn copy_and_read_across() -> Contender {
    let [full, empty] = lines();
    let shared = SharedBytes::new(MIB);
    let (mut sent, mut seen) = (0, 0);
    let receive = move |iterations: u64| {
        for _ in 0..iterations {
            seen += 1;
            full.wait_for(seen);
            shared.look(read);
            empty.set(seen);
        }
    };
    let message = vec![1; MIB];
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            shared.write(black_box(&message));
            sent += 1;
            full.set(sent);
            empty.wait_for(sent);
        }
    };
    Contender::new("memcpy here, read on the other CPU, in turn", with_process(receive, send))
}

fn plain<M: Pod>() -> Queue<M, Plain> {
    Queue::builder().codec::<Plain>().bounded(CAPACITY).expect("a queue")
}

fn text() -> Queue<String> {
    Queue::bounded(CAPACITY).expect("a queue")
}
