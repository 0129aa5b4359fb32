//! Queues: the programs of the first days, every verb, every limit, every refusal. What becomes of
//! handles elsewhere is in `queue_ends`, what becomes of queues under fire in `queue_storm`.

#![allow(unsafe_code, reason = "a plain type of its own")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::{open_fds, until, watched};
use multiproc::{
    Codec, CodecError, ErrorKind, Framed, HandleInfo, Plain, Process, Queue, QueueBuilder,
    Receiver, RecvError, SendError, Sender, Serde,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SOON: Duration = Duration::from_millis(20);

const SIGTERM: i32 = 15;

fn kind_of_recv<T>(result: Result<T, RecvError>) -> Option<ErrorKind> {
    result.err()?.error().map(multiproc::Error::kind)
}

fn kind_of_send<T>(error: &SendError<T>) -> Option<ErrorKind> {
    error.error().map(multiproc::Error::kind)
}

fn bounded<T>(capacity: usize) -> Queue<T>
where
    Serde: Codec<T>,
{
    Queue::bounded(capacity).unwrap()
}

fn plain(capacity: usize) -> Queue<u64, Plain> {
    Queue::builder().codec::<Plain>().bounded(capacity).unwrap()
}

fn joinable(capacity: usize) -> Queue<u64> {
    Queue::builder().joinable(true).bounded(capacity).unwrap()
}

/// Shows a test each kind of queue that behaves the same, framed and plain.
fn each_kind(capacity: usize, framed: fn(Queue<u64>), plain: fn(Queue<u64, Plain>)) {
    let builder = Queue::builder;
    framed(builder().bounded(capacity).unwrap());
    framed(builder().fenced(true).bounded(capacity).unwrap());
    framed(builder().joinable(true).bounded(capacity).unwrap());
    framed(builder().redeliver(true).bounded(capacity).unwrap());
    plain(builder().codec().bounded(capacity).unwrap());
    plain(builder().codec().joinable(true).bounded(capacity).unwrap());
    plain(builder().codec().fenced(true).redeliver(true).bounded(capacity).unwrap());
}

#[test]
fn q1_a_writer_writes_a_reader_reads_until_it_is_terminated() {
    fn write((mut letters, mut log): (Queue<char>, Queue<String>)) {
        for (number, letter) in ('A'..='C').enumerate() {
            log.send(format!("Put {letter}")).unwrap();
            letters.send(letter).unwrap();
            // The sleep is the work of this program.
            thread::sleep(SOON * (u32::from(std::process::id() as u8) % 3 + number as u32));
        }
    }
    fn read((mut letters, mut log): (Queue<char>, Queue<String>)) {
        while let Ok(letter) = letters.recv() {
            log.send(format!("Get {letter}")).unwrap();
        }
    }
    watched("q1", || {
        let (letters, mut log) = (bounded(10), bounded(10));
        let writer = Process::spawn(write, (letters.clone(), log.clone())).unwrap();
        let reader = Process::spawn(read, (letters.clone(), log.clone())).unwrap();
        writer.join().unwrap();
        let lines: Vec<String> = (0..6).map(|_| log.recv().unwrap()).collect();
        reader.terminate().unwrap();
        assert_eq!(reader.join().unwrap_err().signal(), Some(SIGTERM));
        for (verb, letters) in [("Put", "ABC"), ("Get", "ABC")] {
            let said = lines.iter().filter_map(|line| line.strip_prefix(verb));
            assert_eq!(said.map(str::trim).collect::<String>(), letters);
        }
        for letter in 'A'..='C' {
            let at = |verb| lines.iter().position(|line| *line == format!("{verb} {letter}"));
            assert!(at("Put").unwrap() < at("Get").unwrap());
        }
        assert!(log.is_empty() && letters.is_empty());
    });
}

#[test]
fn q2_full_queue_times_out() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    watched("q2", || {
        let mut queue = bounded(3);
        queue.send("message 1".to_owned()).unwrap();
        queue.send("message 2".to_owned()).unwrap();
        assert!(!queue.is_full());
        queue.send("message 3".to_owned()).unwrap();
        assert!(queue.is_full());
        let start = Instant::now();
        let late = queue.send_timeout("message 4".to_owned(), TIMEOUT).unwrap_err();
        assert!(late.is_timeout() && start.elapsed() >= TIMEOUT);
        assert_eq!(late.into_inner(), "message 4");
        let full = queue.try_send("message 4".to_owned()).unwrap_err();
        assert!(full.is_full());
        assert_eq!(full.into_inner(), "message 4");
        assert_eq!(queue.len(), 3);
        let texts: Vec<String> = (0..queue.len()).map(|_| queue.try_recv().unwrap()).collect();
        assert_eq!(texts, ["message 1", "message 2", "message 3"]);
        assert!(queue.try_recv().unwrap_err().is_empty());
    });
}

#[test]
fn q3_a_reader_that_starts_after_the_writers_end_misses_nothing() {
    fn write(mut queue: Queue<String>) {
        for text in ["a", "b", "c", "quit"] {
            queue.send(text.to_owned()).unwrap();
        }
    }
    fn read(mut queue: Queue<String>) -> Vec<String> {
        queue.iter().take_while(|text| text != "quit").collect()
    }
    watched("q3", || {
        let queue = bounded(10);
        let mut writer = Process::spawn(write, queue.clone()).unwrap();
        assert!(writer.join_timeout(Duration::MAX).unwrap().is_some());
        let mut reader = Process::spawn(read, queue.clone()).unwrap();
        assert_eq!(reader.join_timeout(Duration::MAX).unwrap().unwrap(), ["a", "b", "c"]);
        assert!(!writer.is_alive() && !reader.is_alive() && queue.is_empty());
    });
}

#[test]
fn q4_a_consumer_that_stops_at_the_first_empty_look_gets_all_five() {
    fn produce(mut queue: Queue<u32>) {
        (0..5).for_each(|item| queue.send(item).unwrap());
    }
    fn consume(mut queue: Queue<u32>) -> Vec<u32> {
        let mut items = Vec::new();
        while !queue.is_empty() {
            items.push(queue.recv().unwrap());
        }
        assert!(queue.try_recv().unwrap_err().is_empty());
        items
    }
    watched("q4", || {
        let queue = bounded(5);
        Process::spawn(produce, queue.clone()).unwrap().join().unwrap();
        let items = Process::spawn(consume, queue.clone()).unwrap().join().unwrap();
        assert_eq!(items, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn q5_an_unbounded_queue_takes_a_million_messages() {
    const MESSAGES: u32 = 1_000_000;
    fn send_all(mut queue: Queue<u32>) {
        (0..MESSAGES).for_each(|number| queue.send(number).unwrap());
    }
    watched("q5", || {
        let mut queue = Queue::unbounded().unwrap();
        assert_eq!((queue.capacity(), queue.is_full()), (None, false));
        Process::spawn(send_all, queue.clone()).unwrap().join().unwrap();
        assert_eq!(queue.len(), MESSAGES as usize);
        assert!(!queue.is_full());
        // That the memory is given back is seen in `resources`.
        assert!(queue.drain().eq(0..MESSAGES));
        assert!(queue.is_empty());
        let stats = queue.stats();
        assert_eq!((stats.sent, stats.received), (MESSAGES.into(), MESSAGES.into()));
    });
}

fn double((mut numbers, mut doubles): (Queue<u64>, Queue<u64>)) {
    while let Ok(number) = numbers.recv() {
        doubles.send(number * 2).unwrap();
    }
}

#[test]
fn a_child_answers() {
    watched("a_child_answers", || {
        let (mut numbers, mut doubles) = (bounded(3), bounded(2));
        let worker = Process::spawn(double, (numbers.clone(), doubles.clone())).unwrap();
        for number in 0..1000 {
            numbers.send(number).unwrap();
            assert_eq!(doubles.recv().unwrap(), 2 * number);
        }
        numbers.close();
        worker.join().unwrap();
    });
}

/// Every fill level at every place of the ring.
#[test]
fn capacities_are_exact() {
    fn fill_and_drain<C: Codec<u64>>(mut queue: Queue<u64, C>) {
        let capacity = queue.capacity().unwrap();
        let (mut next, mut due) = (0, 0);
        let levels = [capacity, 1, capacity / 2, capacity, 0, capacity.div_ceil(3), capacity];
        for level in levels.into_iter().cycle().take(20) {
            while queue.len() < level {
                assert!(!queue.is_full());
                queue.try_send(next).unwrap();
                next += 1;
            }
            while queue.len() > level {
                assert_eq!(queue.try_recv().unwrap(), due);
                due += 1;
            }
            assert_eq!((queue.len() as u64, queue.is_empty()), (next - due, level == 0));
            assert_eq!(queue.is_full(), level == capacity);
            if level == capacity {
                let full = queue.try_send(next).unwrap_err();
                assert!(full.is_full() && full.into_inner() == next);
            }
        }
        assert!(queue.drain().eq(due..next));
        assert!(queue.is_empty() && queue.try_recv().unwrap_err().is_empty());
    }
    watched("capacities_are_exact", || {
        for capacity in (1..=17).chain([31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 1000]) {
            each_kind(capacity, fill_and_drain, fill_and_drain);
        }
    });
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let limit = |result: multiproc::Result<Queue<u8>>, words: &[&str]| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let most = QueueBuilder::CAPACITY_MAX;
    limit(Queue::bounded(0), &["0 messages", &most.to_string()]);
    limit(Queue::bounded(most + 1), &["messages", &most.to_string()]);
    limit(Queue::bounded(usize::MAX), &["messages"]);
    let most = QueueBuilder::HANDLES_MAX;
    limit(Queue::builder().handles(0).bounded(1), &["0 handles", &most.to_string()]);
    limit(Queue::builder().handles(most + 1).bounded(1), &["handles", &most.to_string()]);
    limit(Queue::builder().inline_bytes(usize::MAX).bounded(1), &["queue"]);
    limit(Queue::builder().inline_bytes(usize::MAX - 20).bounded(1), &["queue"]);
    // The least and the most that can be.
    drop(Queue::builder().handles(1).bounded::<u8>(1).unwrap());
    drop(Queue::builder().handles(most).bounded::<u8>(1).unwrap());
    // There is no machine for it: refused when it is made, not when it is touched.
    let queue = Queue::builder().codec::<Plain>().bounded::<[u64; 512]>(QueueBuilder::CAPACITY_MAX);
    let kind = queue.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Limit | ErrorKind::Memory), "{kind:?}");
}

#[test]
fn plain_values_of_every_size_and_alignment_arrive() {
    fn there_and_back<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(value: T) {
        let mut queue = Queue::builder().codec::<Plain>().bounded::<T>(2).unwrap();
        for _ in 0..5 {
            queue.send(value).unwrap();
            *queue.slot().unwrap() = value;
            let mut slot = queue.slot().unwrap();
            *slot = T::zeroed();
            slot.send().unwrap();
            let guard = queue.recv_guard().unwrap();
            assert_eq!((*guard, guard.get().unwrap()), (value, value));
            assert_eq!(guard.bytes(), bytemuck::bytes_of(&value));
            drop(guard);
            assert_eq!(queue.recv().unwrap(), T::zeroed());
        }
    }
    there_and_back(());
    there_and_back(7_u8);
    there_and_back([1_u8, 2, 3]);
    there_and_back(u128::MAX / 3);
    there_and_back([u128::MAX / 5; 3]);
    there_and_back([5_u64; 6]);
    there_and_back([6_u64; 7]);
    there_and_back([7_u64; 512]);
    there_and_back(Wide([8; 16]));
    there_and_back([9_u8; 20_000]);
    there_and_back(Page([10; 512]));
    let error = Queue::builder().codec::<Plain>().bounded::<TooWide>(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("aligned to 8192"), "{error}");
}

/// As aligned as any block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(128))]
struct Wide([u64; 16]);

/// As aligned as any value can be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(4096))]
struct Page([u64; 512]);

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(8192))]
struct TooWide([u64; 1024]);

// SAFETY: they are integers, and as long as they are aligned.
unsafe impl bytemuck::Zeroable for Wide {}
// SAFETY: as above.
unsafe impl bytemuck::Zeroable for Page {}
// SAFETY: as above.
unsafe impl bytemuck::Zeroable for TooWide {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Page {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Wide {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for TooWide {}

#[test]
fn framed_values_of_every_size_arrive() {
    watched("framed_values_of_every_size", || {
        let mut queue = bounded::<Vec<u8>>(2);
        for size in (0..490).rev().chain(0..490) {
            let value: Vec<u8> = (0..size).map(|i| (i * 7 + size) as u8).collect();
            queue.send(value.clone()).unwrap();
            assert_eq!(queue.recv().unwrap(), value);
        }
    });
}

#[test]
fn long_messages_lie_beside_the_ring() {
    watched("long_messages", || {
        for mut queue in [bounded::<Vec<u8>>(4), Queue::unbounded().unwrap()] {
            for length in [0, 1, 100, 490, 491, 600, 16_000, 17_000, 1 << 20] {
                (1..=3).for_each(|fill| queue.send(vec![fill; length]).unwrap());
                (1..=3).for_each(|fill| assert!(queue.recv().unwrap() == vec![fill; length]));
            }
            let mut message = queue.reserve(1 << 20).unwrap();
            message.fill(7);
            message.send().unwrap();
            // Given up, and begun anew.
            drop(queue.reserve(1 << 20).unwrap());
            queue.send_bytes(&[8; 100_000]).unwrap();
            queue.send_bytes(&vec![6; 40 << 20]).unwrap();
            queue.send_bytes(&[9; 10]).unwrap();
            assert!(queue.recv_guard().unwrap().bytes() == [7; 1 << 20]);
            assert!(queue.recv_guard().unwrap().bytes() == [8; 100_000]);
            assert!(queue.recv_guard().unwrap().bytes() == vec![6; 40 << 20]);
            assert!(queue.recv_guard().unwrap().bytes() == [9; 10]);
        }
    });
}

#[test]
fn long_messages_of_many_threads_arrive_whole() {
    watched("long_messages_of_many_threads", || {
        for mut queue in [bounded::<Vec<u64>>(3), Queue::unbounded().unwrap()] {
            let senders: Vec<_> = (0..3_u64)
                .map(|id| {
                    let mut queue = queue.sender().unwrap();
                    let length = move |number: u64| ((number * (id + 1)) % 7) as usize * 700;
                    thread::spawn(move || {
                        (0..300).for_each(|number| queue.send(vec![id; length(number)]).unwrap());
                    })
                })
                .collect();
            for _ in 0..900 {
                let message = queue.recv().unwrap();
                assert!(message.iter().all(|word| *word == message[0]));
            }
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        }
    });
}

/// The memory beside the ring is a limit like the capacity: who sends waits for it.
#[test]
fn memory_is_waited_for_as_room_is() {
    const LONG: usize = 100_000;
    watched("memory_is_waited_for", || {
        let mut queue = Queue::builder().memory(1 << 20).bounded::<Vec<u8>>(100).unwrap();
        let full = loop {
            if let Err(unsent) = queue.try_send(vec![1; LONG]) {
                break unsent;
            }
        };
        assert!(full.is_full() && full.into_inner() == vec![1; LONG]);
        let count = queue.len();
        assert!((5..=10).contains(&count), "{count} messages");
        let late = queue.send_timeout(vec![2; LONG], SOON).unwrap_err();
        assert!(late.is_timeout() && late.into_inner().len() == LONG);
        // What is short has its place in the ring.
        queue.try_send(vec![3; 10]).unwrap();
        let mut sender = queue.sender().unwrap();
        let waits = thread::spawn(move || sender.send(vec![4; LONG]).unwrap());
        (0..count).for_each(|_| assert!(queue.recv().unwrap() == vec![1; LONG]));
        assert_eq!(queue.recv().unwrap(), vec![3; 10]);
        assert!(queue.recv().unwrap() == vec![4; LONG]);
        waits.join().unwrap();
        // What was forgotten in the middle is there again.
        for _ in 0..30 {
            let mut other = queue.clone();
            other.reserve(LONG).unwrap().fill(0);
            drop(queue.reserve(2 * LONG));
        }
        let unsent = queue.send(vec![0; 2 << 20]).unwrap_err();
        assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Limit));
        assert!(unsent.to_string().contains("at most"), "{unsent}");
        assert_eq!(unsent.into_inner().len(), 2 << 20);
        queue.send(vec![5; 800_000]).unwrap();
        assert!(queue.recv().unwrap() == vec![5; 800_000]);
    });
}

/// Also where the rings lie that a queue grows by.
#[test]
fn a_queue_grows_no_further_than_its_memory() {
    watched("no_further_than_its_memory", || {
        let mut queue = Queue::builder().memory(4 << 20).unbounded::<[u64; 8]>().unwrap();
        for _ in 0..3 {
            let full = (0..).find_map(|number| queue.try_send([number; 8]).err()).unwrap();
            assert!(full.is_full(), "{full}");
            let count = queue.len() as u64;
            assert_eq!(full.into_inner(), [count; 8]);
            assert!(10_000 < count, "{count} messages");
            let mut sender = queue.sender().unwrap();
            let waits = thread::spawn(move || sender.send([count; 8]).unwrap());
            (0..=count).for_each(|number| assert_eq!(queue.recv().unwrap(), [number; 8]));
            waits.join().unwrap();
        }
    });
}

/// A message that is not sent keeps no memory from those of others.
#[test]
fn what_is_not_sent_takes_no_memory() {
    const LONG: usize = 800_000;
    watched("what_is_not_sent", || {
        let mut queue = Queue::builder().memory(1 << 20).bounded::<Vec<u8>>(1).unwrap();
        let mut other = queue.sender().unwrap();
        drop(queue.reserve(LONG).unwrap());
        other.send(vec![1; LONG]).unwrap();
        assert_eq!(queue.recv().unwrap().len(), LONG);
        other.send(vec![2]).unwrap();
        assert!(queue.try_send(vec![3; LONG]).unwrap_err().is_full());
        assert!(queue.send_timeout(vec![3; LONG], SOON).unwrap_err().is_timeout());
        assert_eq!(queue.recv().unwrap(), [2]);
        other.send(vec![4; LONG]).unwrap();
        assert_eq!(queue.recv().unwrap().len(), LONG);
        // And who waits for it goes on.
        let slot = queue.reserve(LONG).unwrap();
        let waits = thread::spawn(move || other.send(vec![5; LONG]).unwrap());
        thread::yield_now();
        drop(slot);
        waits.join().unwrap();
        assert_eq!(queue.recv().unwrap().len(), LONG);
    });
}

#[test]
fn waits_take_their_time_and_no_more_than_forever() {
    fn wait_and_time<C: Codec<u64>>(mut queue: Queue<u64, C>) {
        let start = Instant::now();
        assert!(queue.recv_timeout(SOON).unwrap_err().is_timeout());
        assert!(queue.recv_guard_timeout(SOON).unwrap_err().is_timeout());
        assert!(start.elapsed() >= 2 * SOON);
        assert!(queue.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
        queue.send_timeout(1, Duration::ZERO).unwrap();
        let start = Instant::now();
        let unsent = queue.send_timeout(2, SOON).unwrap_err();
        assert!(unsent.is_timeout() && start.elapsed() >= SOON);
        assert_eq!(unsent.into_inner(), 2);
        assert!(queue.send_timeout(2, Duration::ZERO).unwrap_err().is_timeout());
        assert_eq!(queue.recv_timeout(Duration::MAX).unwrap(), 1);
        queue.send_timeout(3, Duration::MAX).unwrap();
        assert_eq!(queue.recv_timeout(Duration::ZERO).unwrap(), 3);
    }
    watched("waits_take_their_time", || {
        each_kind(1, wait_and_time, wait_and_time);
    });
}

#[test]
fn sleepers_on_both_sides_are_woken() {
    fn ping<C: Codec<u64> + 'static>(queue: Queue<u64, C>) {
        let (mut here, mut there) = (queue.clone(), queue);
        let echo = thread::spawn(move || {
            (0..MESSAGES / 20).for_each(|number| assert_eq!(there.recv().unwrap(), number));
        });
        (0..MESSAGES / 20).for_each(|number| here.send(number).unwrap());
        echo.join().unwrap();
    }
    const MESSAGES: u64 = 20_000;
    watched("sleepers_on_both_sides", || {
        each_kind(1, ping, ping);
        let (mut there, mut back) = (plain(2), plain(2));
        let (mut inn, mut out) = (there.clone(), back.clone());
        let echo = thread::spawn(move || {
            while let Ok(number) = inn.recv() {
                out.send(number + 1).unwrap();
            }
        });
        for number in 0..MESSAGES {
            there.send(number).unwrap();
            assert_eq!(back.recv().unwrap(), number + 1);
        }
        there.close();
        echo.join().unwrap();
    });
}

/// Messages carry who sent them and as the how manyth.
#[test]
fn of_many_threads_each_keeps_its_order_and_every_message_comes_once() {
    fn crowd<C: Codec<u64> + 'static>(queue: Queue<u64, C>) {
        let senders: Vec<_> = (0..3).map(|_| queue.sender().unwrap()).collect();
        let receivers: Vec<_> = (0..3).map(|_| queue.receiver().unwrap()).collect();
        drop(queue);
        let sending = senders.into_iter().enumerate().map(|(id, mut sender)| {
            let numbers = (0..EACH / 5).map(move |number| (id as u64) << 32 | number);
            thread::spawn(move || numbers.for_each(|number| sender.send(number).unwrap()))
        });
        let sending: Vec<_> = sending.collect();
        let receiving = receivers
            .into_iter()
            .map(|mut receiver| thread::spawn(move || receiver.iter().collect::<Vec<_>>()));
        let receiving: Vec<_> = receiving.collect();
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        let lists = receiving.into_iter().map(|thread| thread.join().unwrap());
        let mut all = Vec::new();
        for list in lists {
            for id in 0..3 {
                let of_one = list.iter().filter(|number| *number >> 32 == id);
                assert!(of_one.is_sorted());
            }
            all.extend(list);
        }
        all.sort_unstable();
        let sent = (0..3).flat_map(|id| (0..EACH / 5).map(move |number| id << 32 | number));
        assert!(all.into_iter().eq(sent));
    }
    const EACH: u64 = 5000;
    watched("many_threads", || {
        for capacity in [1, 3, 64] {
            each_kind(capacity, crowd, crowd);
        }
    });
}

#[test]
fn a_closed_queue_gives_out_what_it_has_and_takes_nothing() {
    fn close_it<C: Codec<u64>>(mut queue: Queue<u64, C>) {
        let other = queue.clone();
        queue.send(1).unwrap();
        queue.send(2).unwrap();
        assert!(!queue.is_closed());
        other.close();
        assert!(queue.is_closed() && other.is_closed() && queue.info().is_closed);
        queue.close();
        for unsent in [
            queue.send(3).unwrap_err(),
            queue.try_send(3).unwrap_err(),
            queue.send_timeout(3, Duration::MAX).unwrap_err(),
        ] {
            assert!(unsent.is_disconnected() && !unsent.is_peer_dead());
            assert_eq!(unsent.into_inner(), 3);
        }
        let mut batch = vec![4, 5];
        assert!(queue.send_batch(&mut batch).unwrap_err().is_disconnected());
        assert_eq!(batch, [4, 5]);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2]);
        for end in [
            queue.recv().unwrap_err(),
            queue.try_recv().unwrap_err(),
            queue.recv_timeout(Duration::MAX).unwrap_err(),
        ] {
            assert!(end.is_disconnected() && !end.is_peer_dead(), "{end}");
        }
        assert!(queue.try_recv_guard().unwrap_err().is_disconnected());
    }
    watched("a_closed_queue", || {
        each_kind(3, close_it, close_it);
    });
}

/// Every send that returned is received, and every other one gave its value back.
#[test]
fn a_send_comes_before_the_end_or_fails() {
    fn race<C: Codec<u64> + Send + 'static>(mut queue: Queue<u64, C>) {
        for closes in [true, false] {
            let (receiver, capacity) = (queue.receiver().unwrap(), queue.capacity().unwrap());
            let senders = [(); 2].map(|()| queue.sender().unwrap());
            let closer = queue.sender().unwrap();
            queue = Queue::builder().codec().bounded(capacity).unwrap();
            let receiving = [receiver.clone(), receiver]
                .map(|mut receiver| thread::spawn(move || receiver.iter().count()));
            let sending = senders.map(|mut sender| {
                thread::spawn(move || match closes {
                    true => (0..).take_while(|number| sender.send(*number).is_ok()).count(),
                    false => (0..20).map(|number| sender.send(number).unwrap()).count(),
                })
            });
            thread::yield_now();
            if closes {
                closer.close();
            }
            drop(closer);
            let sent: usize = sending.into_iter().map(|thread| thread.join().unwrap()).sum();
            let received: usize = receiving.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sent, received);
        }
    }
    watched("a_send_comes_before_the_end", || {
        for round in 0..30 {
            each_kind(1 + round % 4, race, race);
        }
    });
}

#[test]
fn closing_wakes_all_sleepers() {
    watched("closing_wakes_all_sleepers", || {
        let asleep = |queue: &Queue<u64>| {
            queue.info().handles.iter().filter(|handle| handle.is_asleep).count()
        };
        for rounds in 0..20 {
            let mut queue = bounded(2);
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let mut queue = queue.clone();
                    thread::spawn(move || queue.recv().unwrap_err().is_disconnected())
                })
                .collect();
            until(|| rounds % 2 == 0 || asleep(&queue) == 3);
            queue.close();
            receivers.into_iter().for_each(|thread| assert!(thread.join().unwrap()));
            queue = bounded(2);
            queue.send_batch(&mut vec![0, 1]).unwrap();
            let senders: Vec<_> = (0..3)
                .map(|number| {
                    let mut queue = queue.clone();
                    thread::spawn(move || {
                        let unsent = queue.send(number).unwrap_err();
                        unsent.is_disconnected() && unsent.into_inner() == number
                    })
                })
                .collect();
            until(|| rounds % 2 == 0 || asleep(&queue) == 3);
            queue.close();
            senders.into_iter().for_each(|thread| assert!(thread.join().unwrap()));
            assert_eq!(queue.iter().collect::<Vec<_>>(), [0, 1]);
        }
    });
}

/// A value that cannot be encoded, and bytes that cannot be decoded.
#[derive(Debug, PartialEq)]
struct Stubborn(u8);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("not now")),
            number => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Err(serde::de::Error::custom("not this one")),
            number => Ok(Self(number)),
        }
    }
}

#[test]
fn a_value_that_cannot_be_encoded_comes_back() {
    let mut queue = bounded(1);
    let unsent = queue.send(Stubborn(1)).unwrap_err();
    assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Codec));
    assert!(format!("{unsent:?} {unsent}").contains("Stubborn"), "{unsent}");
    assert_eq!(unsent.into_inner(), Stubborn(1));
    assert!(queue.is_empty() && queue.stats().sent == 0);
    let mut batch = vec![Stubborn(3), Stubborn(1), Stubborn(4)];
    assert_eq!(kind_of_send(&queue.send_batch(&mut batch).unwrap_err()), Some(ErrorKind::Codec));
    assert_eq!(batch, [Stubborn(1), Stubborn(4)]);
    assert_eq!(queue.recv().unwrap(), Stubborn(3));
}

#[test]
fn a_message_that_cannot_be_decoded_is_used_up_and_the_next_is_fine() {
    let mut queue = bounded(4);
    for number in [2, 3, 2, 4] {
        queue.send(Stubborn(number)).unwrap();
    }
    let error = queue.recv().unwrap_err();
    assert!(error.to_string().contains("Stubborn"), "{error}");
    assert_eq!(kind_of_recv::<()>(Err(error)), Some(ErrorKind::Codec));
    assert_eq!(queue.try_recv().unwrap(), Stubborn(3));
    let guard = queue.recv_guard().unwrap();
    assert_eq!(guard.bytes(), [2]);
    assert_eq!(kind_of_recv(guard.get()), Some(ErrorKind::Codec));
    drop(guard);
    assert_eq!(queue.recv().unwrap(), Stubborn(4));
    let stats = queue.stats();
    assert_eq!((stats.sent, stats.received, stats.in_flight), (4, 4, 0));
}

#[test]
fn a_batch_does_not_swallow_the_error_behind_it() {
    let mut queue = bounded(4);
    for number in [3, 2, 4] {
        queue.send(Stubborn(number)).unwrap();
    }
    let mut batch = Vec::new();
    assert_eq!(queue.recv_batch(&mut batch, 9).unwrap(), 1);
    assert_eq!(kind_of_recv(queue.recv_batch(&mut batch, 9)), Some(ErrorKind::Codec));
    assert_eq!(queue.recv_batch(&mut batch, 9).unwrap(), 1);
    assert_eq!(batch, [Stubborn(3), Stubborn(4)]);
}

/// Panics when it is told to.
#[derive(Debug)]
struct Shaky;

impl Framed for Shaky {}
impl Codec<u8> for Shaky {
    fn encode(value: &u8, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        assert_ne!(*value, 1, "while encoding");
        bytes.push(*value);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<u8, CodecError> {
        assert_ne!(bytes, [2], "while decoding");
        Ok(bytes[0])
    }
}

#[test]
fn a_codec_that_panics_leaves_a_queue_that_works() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut queue = Queue::builder().codec::<Shaky>().joinable(true).bounded::<u8>(2).unwrap();
    for _ in 0..5 {
        assert!(catch_unwind(AssertUnwindSafe(|| queue.send(1))).is_err());
        queue.send(2).unwrap();
        queue.send(3).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| queue.recv())).is_err());
        assert_eq!(queue.recv().unwrap(), 3);
        queue.task_done().unwrap();
        queue.task_done().unwrap();
        queue.join().unwrap();
    }
}

/// Handles in messages have no receiver to travel to.
#[test]
fn a_handle_in_a_message_is_refused_and_stays_whole() {
    common::alone("a handle in a message", |()| {
        let mut outer = bounded::<(u8, Queue<u64>)>(2);
        let fds = open_fds();
        for round in 0..100 {
            let unsent = outer.send((7, bounded(1))).unwrap_err();
            assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Misuse));
            assert!(unsent.to_string().contains("connections"), "{unsent}");
            let (seven, mut inner) = unsent.into_inner();
            inner.send(round).unwrap();
            assert_eq!((seven, inner.recv().unwrap()), (7, round));
            assert_eq!(inner.info().handles.len(), 1);
        }
        assert!(outer.is_empty() && open_fds() <= fds + 1);
        // Also a handle of the queue itself.
        let mut queue: Queue<Vec<Queue<u64>>> = bounded(1);
        queue.send(Vec::new()).unwrap();
        assert!(queue.recv().unwrap().is_empty());
    });
}

#[test]
fn a_batch_is_sent_through_a_smaller_queue() {
    watched("a_batch_is_sent", || {
        for capacity in [1, 5] {
            let (mut sender, mut receiver) = Queue::<u32>::channel(capacity).unwrap();
            let writer = thread::spawn(move || {
                let mut batch: Vec<u32> = (0..1000).collect();
                sender.send_batch(&mut batch).unwrap();
                assert!(batch.is_empty());
                sender.send_batch(&mut batch).unwrap();
            });
            let mut received = Vec::new();
            while received.len() < 1000 {
                let count = receiver.recv_batch(&mut received, 7).unwrap();
                assert!((1..=7).contains(&count));
            }
            writer.join().unwrap();
            assert!(received.into_iter().eq(0..1000));
            assert!(receiver.recv_batch(&mut Vec::new(), 7).unwrap_err().is_disconnected());
        }
    });
}

#[test]
fn a_batch_takes_what_is_there() {
    let mut queue = bounded::<u32>(10);
    queue.send_batch(&mut (0..6).collect()).unwrap();
    let mut received = vec![99];
    assert_eq!(queue.recv_batch(&mut received, 0).unwrap(), 0);
    assert_eq!(queue.recv_batch(&mut received, 2).unwrap(), 2);
    assert_eq!(queue.recv_batch(&mut received, 100).unwrap(), 4);
    assert_eq!(received, [99, 0, 1, 2, 3, 4, 5]);
    assert_eq!(queue.recv_batch(&mut received, 0).unwrap(), 0);
}

#[test]
fn an_interrupted_batch_keeps_what_was_not_sent() {
    watched("an_interrupted_batch", || {
        let (mut sender, mut receiver) = Queue::<u32>::channel(4).unwrap();
        let writer = thread::spawn(move || {
            let mut batch: Vec<u32> = (0..100).collect();
            assert!(sender.send_batch(&mut batch).unwrap_err().is_disconnected());
            batch
        });
        let received: Vec<u32> = receiver.iter().take(10).collect();
        drop(receiver);
        let left = writer.join().unwrap();
        assert!(received.into_iter().eq(0..10));
        // Up to four lay in the queue when its last reader went.
        assert!((86..=90).contains(&left.len()), "{left:?}");
        let first = 100 - left.len() as u32;
        assert!(left.into_iter().eq(first..100));
    });
}

#[test]
fn drain_takes_what_is_there_and_iter_waits_for_the_end() {
    watched("drain_and_iter", || {
        let mut queue = bounded::<u32>(5);
        assert_eq!(queue.drain().count(), 0);
        queue.send_batch(&mut vec![1, 2, 3]).unwrap();
        assert_eq!(queue.drain().collect::<Vec<_>>(), [1, 2, 3]);
        queue.send_batch(&mut vec![4, 5]).unwrap();
        assert_eq!(queue.drain().next(), Some(4));
        assert_eq!(queue.len(), 1);
        let mut sender = queue.sender().unwrap();
        let writer = thread::spawn(move || {
            (6..100).for_each(|number| sender.send(number).unwrap());
            sender.close();
        });
        assert!(queue.iter().take(5).eq(5..10));
        assert!((10..100).eq(&mut queue));
        writer.join().unwrap();
    });
}

#[test]
fn a_message_is_built_and_read_in_place() {
    let mut queue = bounded::<()>(2);
    drop(queue.reserve(100).unwrap());
    assert!(queue.is_empty());
    let mut slot = queue.reserve(5).unwrap();
    assert_eq!(slot.len(), 5);
    slot.copy_from_slice(b"hello");
    assert!(format!("{slot:?}").contains('5'));
    slot.send().unwrap();
    queue.send_bytes(b"").unwrap();
    assert_eq!(queue.len(), 2);
    let guard = queue.recv_guard().unwrap();
    assert_eq!(guard.bytes(), b"hello");
    assert!(format!("{guard:?}").contains("Received"));
    drop(guard);
    let guard = queue.try_recv_guard().unwrap();
    assert_eq!((guard.bytes(), guard.get().unwrap()), (b"".as_slice(), ()));
    drop(guard);
    assert!(queue.try_recv_guard().unwrap_err().is_empty());
    queue.close();
    assert!(queue.reserve(1).unwrap_err().is_disconnected());
    assert!(queue.send_bytes(b"x").unwrap_err().is_disconnected());
}

#[test]
fn bytes_and_slots_are_waited_for_as_long_as_one_likes() {
    let mut queue = bounded::<()>(2);
    assert!(queue.try_recv_bytes().unwrap_err().is_empty());
    assert!(queue.recv_bytes_timeout(SOON).unwrap_err().is_timeout());
    queue.try_send_bytes(b"one").unwrap();
    queue.try_reserve(3).unwrap().try_send().unwrap();
    assert!(queue.try_send_bytes(b"no").unwrap_err().is_full());
    assert!(queue.send_bytes_timeout(b"no", SOON).unwrap_err().is_timeout());
    // There is room for it, but not in the queue.
    assert!(queue.reserve_timeout(5, SOON).unwrap().try_send().unwrap_err().is_full());
    assert!(queue.reserve(5).unwrap().send_timeout(SOON).unwrap_err().is_timeout());
    assert_eq!(queue.recv_bytes().unwrap(), b"one");
    queue.send_bytes_timeout(b"two", SOON).unwrap();
    assert_eq!(queue.try_recv_bytes().unwrap().len(), 3);
    assert_eq!(queue.recv_bytes_timeout(SOON).unwrap(), b"two");
    queue.close();
    assert!(queue.try_reserve(1).unwrap_err().is_disconnected());
    assert!(queue.try_send_bytes(b"x").unwrap_err().is_disconnected());
    assert!(queue.recv_bytes().unwrap_err().is_disconnected());
}

/// A long message takes memory beside the ring, of which there may be none.
#[test]
fn memory_for_a_slot_is_waited_for_as_long_as_one_likes() {
    const LONG: usize = 600 << 10;
    let mut queue = Queue::builder().memory(1 << 20).bounded::<()>(8).unwrap();
    queue.send_bytes(&vec![1; LONG]).unwrap();
    assert!(queue.try_reserve(LONG).unwrap_err().is_full());
    assert!(queue.reserve_timeout(LONG, SOON).unwrap_err().is_timeout());
    assert!(queue.try_send_bytes(&vec![2; LONG]).unwrap_err().is_full());
    assert_eq!(queue.recv_bytes().unwrap(), vec![1; LONG]);
    queue.try_reserve(LONG).unwrap().try_send().unwrap();
    assert_eq!(queue.recv_bytes().unwrap().len(), LONG);
    let builder = Queue::builder().memory(1 << 20).codec::<Plain>();
    let mut queue = builder.bounded::<[u8; LONG]>(8).unwrap();
    queue.try_slot().unwrap().send().unwrap();
    assert!(queue.try_slot().unwrap_err().is_full());
    assert!(queue.slot_timeout(SOON).unwrap_err().is_timeout());
    drop(queue.recv_guard().unwrap());
    queue.slot_timeout(SOON).unwrap().try_send().unwrap();
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_slot_that_is_sent_too_late_is_not_sent() {
    let mut queue = bounded::<()>(2);
    let other = queue.clone();
    let slot = queue.reserve(5).unwrap();
    other.close();
    assert!(slot.send().unwrap_err().is_disconnected());
    assert!(queue.is_empty());
}

#[test]
fn a_slot_waits_for_room() {
    watched("a_slot_waits_for_room", || {
        let mut queue = bounded::<()>(1);
        queue.send_bytes(b"first").unwrap();
        let mut sender = queue.sender().unwrap();
        let writer = thread::spawn(move || {
            let mut slot = sender.reserve(6).unwrap();
            slot.copy_from_slice(b"second");
            slot.send().unwrap();
        });
        assert_eq!(queue.recv_guard().unwrap().bytes(), b"first");
        assert_eq!(queue.recv_guard().unwrap().bytes(), b"second");
        writer.join().unwrap();
    });
}

#[test]
fn what_is_read_in_place_makes_room_and_is_in_flight() {
    fn hold_one<C: Codec<u64>>(mut queue: Queue<u64, C>) {
        let (watcher, mut sender) = (queue.clone(), queue.sender().unwrap());
        let holds = || watcher.info().handles.iter().filter(|one| one.holds_message).count();
        sender.send(5).unwrap();
        let guard = queue.recv_guard().unwrap();
        sender.try_send(6).unwrap();
        assert_eq!((guard.get().unwrap(), guard.get().unwrap()), (5, 5));
        let stats = watcher.stats();
        assert_eq!((stats.sent, stats.received, stats.in_flight), (2, 0, 2));
        assert_eq!((watcher.len(), holds()), (1, 1));
        drop(guard);
        let stats = watcher.stats();
        assert_eq!((stats.sent, stats.received, stats.in_flight), (2, 1, 1));
        assert_eq!((stats.lost, stats.redelivered, holds()), (0, 0, 0));
        assert_eq!(queue.recv().unwrap(), 6);
    }
    // A word that was popped is in nobody's hands, so words take the way of blocks here.
    let builder = || Queue::builder().joinable(true);
    hold_one::<Serde>(builder().bounded(1).unwrap());
    hold_one::<Plain>(builder().codec().bounded(1).unwrap());
}

/// What a plain value is made of can be seen in place as well.
#[test]
fn a_plain_value_is_read_in_place() {
    let mut queue = plain(1);
    queue.send(0x0102_0304_0506_0708).unwrap();
    let guard = queue.recv_guard().unwrap();
    assert_eq!(guard.bytes(), 0x0102_0304_0506_0708_u64.to_ne_bytes());
    assert_eq!(guard.get().unwrap(), 0x0102_0304_0506_0708);
}

/// A guard that nobody drops is let go of with the next message, or with its handle.
#[test]
fn a_forgotten_guard_is_let_go_of() {
    let mut queue = Queue::builder().handles(2).bounded::<u64>(3).unwrap();
    let mut reader = queue.receiver().unwrap();
    queue.send_batch(&mut vec![1, 2, 3]).unwrap();
    std::mem::forget(reader.recv_guard().unwrap());
    assert_eq!(reader.recv().unwrap(), 2);
    assert_eq!((queue.stats().in_flight, queue.stats().received), (1, 2));
    std::mem::forget(reader.recv_guard().unwrap());
    drop(reader);
    assert_eq!((queue.stats().in_flight, queue.stats().received), (0, 3));
    let reader = queue.receiver().unwrap();
    assert!(reader.info().handles.iter().all(|handle| !handle.holds_message));
}

/// Who would die with the holder inherits nothing from it, and so does not wait for it.
#[test]
fn one_process_does_not_wait_for_its_own_inheritance() {
    watched("its_own_inheritance", || {
        let mut queue = Queue::builder().redeliver(true).bounded::<u64>(3).unwrap();
        let mut other = queue.receiver().unwrap();
        queue.send(1).unwrap();
        let held = other.recv_guard().unwrap();
        queue.close();
        assert!(queue.recv().unwrap_err().is_disconnected());
        assert_eq!(held.get().unwrap(), 1);
    });
}

#[test]
fn nothing_can_be_aligned_more_than_a_word() {
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Nothing;
    // SAFETY: it has no bytes.
    unsafe impl bytemuck::Zeroable for Nothing {}
    // SAFETY: as above.
    unsafe impl bytemuck::Pod for Nothing {}

    let mut queue = Queue::builder().codec::<Plain>().bounded::<Nothing>(2).unwrap();
    queue.slot().unwrap().send().unwrap();
    let Nothing = *queue.recv_guard().unwrap();
    assert!(queue.is_empty());
}

#[test]
fn one_sided_ends_do_their_side() {
    let mut queue = bounded::<u8>(2);
    let mut sender: Sender<u8> = queue.sender().unwrap();
    let mut receiver: Receiver<u8> = queue.receiver().unwrap();
    sender.clone().send(1).unwrap();
    sender.sender().unwrap().send(2).unwrap();
    assert!(receiver.is_full() && sender.capacity() == Some(2));
    assert_eq!(receiver.clone().recv().unwrap(), 1);
    assert_eq!(receiver.receiver().unwrap().recv().unwrap(), 2);
    drop(queue.clone());
    sender.send(3).unwrap();
    assert_eq!(queue.recv().unwrap(), 3);
    let ends = |one: &HandleInfo| (one.sends, one.receives);
    let ends: Vec<_> = queue.info().handles.iter().map(ends).collect();
    assert_eq!(ends, [(true, true), (true, false), (false, true)]);
    drop(queue);
    drop(sender);
    assert!(receiver.try_recv().unwrap_err().is_disconnected());
}

#[test]
fn a_channel_ends_with_its_last_sender_or_its_last_receiver() {
    watched("a_channel_ends", || {
        let (mut sender, mut receiver) = Queue::<String>::channel(3).unwrap();
        let second = sender.clone();
        sender.send("kept".to_owned()).unwrap();
        drop(sender);
        assert_eq!(receiver.recv().unwrap(), "kept");
        assert!(receiver.try_recv().unwrap_err().is_empty());
        let waiter = thread::spawn(move || receiver.recv().unwrap_err());
        drop(second);
        let end = waiter.join().unwrap();
        assert!(end.is_disconnected() && !end.is_peer_dead());

        let (mut sender, receiver) = Queue::<String>::channel(1).unwrap();
        let second = receiver.clone();
        sender.send("lost".to_owned()).unwrap();
        drop(receiver);
        assert!(sender.try_send("full".to_owned()).unwrap_err().is_full());
        let waiter = thread::spawn(move || sender.send("unsent".to_owned()).unwrap_err());
        drop(second);
        let unsent = waiter.join().unwrap();
        assert!(unsent.is_disconnected() && !unsent.is_peer_dead());
        assert_eq!(unsent.into_inner(), "unsent");
    });
}

#[test]
fn there_are_as_many_handles_as_were_asked_for() {
    watched("there_are_as_many_handles", || {
        let mut queue = Queue::builder().handles(3).bounded::<u64>(2).unwrap();
        let second = queue.try_clone().unwrap();
        let third = queue.sender().unwrap();
        for error in [
            queue.try_clone().unwrap_err(),
            second.receiver().unwrap_err(),
            third.sender().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Limit);
            let text = error.to_string();
            assert!(
                text.contains("more than 3") && text.contains("QueueBuilder::handles"),
                "{text}"
            );
        }
        // A clone cannot fail; its verbs can.
        let mut none = queue.clone();
        let unsent = none.send(5).unwrap_err();
        assert!(unsent.to_string().contains("QueueBuilder::handles"), "{unsent}");
        assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Limit));
        assert_eq!(unsent.into_inner(), 5);
        assert_eq!(kind_of_recv(none.recv()), Some(ErrorKind::Limit));
        assert_eq!(kind_of_recv(none.try_recv_guard()), Some(ErrorKind::Limit));
        assert_eq!(none.try_clone().unwrap_err().kind(), ErrorKind::Limit);
        assert!(none.is_empty() && none.iter().next().is_none());
        assert!(format!("{none:?}").contains("no handle"));
        none.close();
        // As an argument it needs one more, too.
        let error = Process::spawn(drop::<Queue<u64>>, second).unwrap_err();
        assert!(error.to_string().contains("QueueBuilder::handles"), "{error}");
        drop(third);
        drop(none);
        assert_eq!(queue.info().handles.len(), 1);
        let mut again = queue.clone();
        again.send(6).unwrap();
        assert_eq!(queue.recv().unwrap(), 6);
    });
}

#[test]
fn all_handles_of_a_crowd_work() {
    const HANDLES: usize = QueueBuilder::HANDLES_MAX;
    watched("all_handles_of_a_crowd", || {
        for capacity in [1, HANDLES] {
            let mut queue = Queue::builder().handles(HANDLES).bounded(capacity).unwrap();
            let mut others: Vec<_> = (1..HANDLES).map(|_| queue.try_clone().unwrap()).collect();
            assert_eq!(queue.try_clone().unwrap_err().kind(), ErrorKind::Limit);
            assert_eq!(queue.info().handles.len(), HANDLES);
            for (number, other) in (0..).zip(&mut others) {
                other.send(number).unwrap();
                assert_eq!(queue.recv().unwrap(), number);
            }
            // The last of them sleeps and is woken.
            let mut last = others.pop().unwrap();
            let waits = thread::spawn(move || last.recv().unwrap());
            until(|| queue.info().handles[HANDLES - 1].is_asleep);
            others[HANDLES / 2].send(7_u64).unwrap();
            assert_eq!(waits.join().unwrap(), 7);
        }
    });
}

#[test]
fn handles_can_be_given_to_threads() {
    fn sendable<T: Send + 'static>() {}
    sendable::<Queue<u8>>();
    sendable::<Sender<String>>();
    sendable::<Receiver<u8, Plain>>();
    // Whatever its messages and its codec are like.
    sendable::<Queue<std::rc::Rc<u8>, *const u8>>();
}

#[test]
fn a_channel_needs_two_handles() {
    let error = Queue::builder().handles(1).channel::<u8>(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("QueueBuilder::handles"), "{error}");
    drop(Queue::builder().handles(2).channel::<u8>(1).unwrap());
}

#[test]
fn tasks_are_counted_until_they_are_done() {
    watched("tasks_are_counted", || {
        let mut queue = joinable(4);
        queue.join().unwrap();
        assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::Misuse);
        let mut worker = queue.clone();
        queue.send_batch(&mut vec![1, 2]).unwrap();
        assert!(!queue.join_timeout(Duration::ZERO).unwrap());
        worker.recv().unwrap();
        assert!(!queue.join_timeout(SOON).unwrap());
        drop(worker.recv_guard().unwrap());
        worker.task_done().unwrap();
        assert!(!queue.join_timeout(Duration::ZERO).unwrap());
        // It is the worker's to say, not anybody's.
        assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::Misuse);
        worker.task_done().unwrap();
        assert!(queue.join_timeout(Duration::ZERO).unwrap());
        let often = worker.task_done().unwrap_err();
        assert!(often.to_string().contains("more often"), "{often}");
        queue.join().unwrap();
    });
}

#[test]
fn who_joins_hears_that_nobody_will_do_the_rest() {
    watched("nobody_will_do_the_rest", || {
        let (mut sender, receiver) = Queue::builder().joinable(true).channel::<u64>(3).unwrap();
        sender.send(1).unwrap();
        let waits = thread::spawn(move || (sender.join().unwrap_err(), sender));
        thread::yield_now();
        drop(receiver);
        let (error, mut sender) = waits.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(sender.join_timeout(SOON).is_err());
        // What was done to the end is done, whoever went then.
        let (mut sender, mut receiver) = Queue::builder().joinable(true).channel::<u64>(3).unwrap();
        sender.send(1).unwrap();
        receiver.recv().unwrap();
        drop(receiver);
        sender.join().unwrap();
    });
}

#[test]
fn who_joins_is_woken_by_the_last_task() {
    watched("who_joins_is_woken", || {
        let mut queue = joinable(4);
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let mut tasks = queue.receiver().unwrap();
                thread::spawn(move || {
                    let mut done = 0;
                    while tasks.recv().is_ok() {
                        tasks.task_done().unwrap();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut sent = 0;
        for round in 0..500 {
            (0..round % 7).for_each(|number| queue.send(number).unwrap());
            sent += round % 7;
            queue.join().unwrap();
            assert_eq!(queue.stats().received, sent);
        }
        queue.close();
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), sent);
    });
}

#[test]
fn who_drops_a_handle_is_done_with_everything() {
    watched("who_drops_a_handle", || {
        let mut queue = joinable(4);
        let mut worker = queue.receiver().unwrap();
        queue.send(1).unwrap();
        worker.recv().unwrap();
        let mut joiner = queue.clone();
        let joins = thread::spawn(move || joiner.join().unwrap());
        until(|| queue.info().handles.iter().any(|handle| handle.is_asleep));
        drop(worker);
        joins.join().unwrap();
        // The next one to have this handle begins anew.
        let mut worker = queue.receiver().unwrap();
        assert_eq!(worker.task_done().unwrap_err().kind(), ErrorKind::Misuse);
        queue.join().unwrap();
    });
}

#[test]
fn a_worker_killed_with_tasks_in_its_hands_keeps_nobody_waiting() {
    fn works((mut tasks, mut told): (Receiver<u64>, Sender<()>)) {
        tasks.recv().unwrap();
        tasks.recv().unwrap();
        told.send(()).unwrap();
        let _held = tasks.recv_guard().unwrap();
        told.send(()).unwrap();
        loop {
            thread::park();
        }
    }
    watched("a_worker_killed_with_tasks", || {
        let mut queue = joinable(4);
        queue.send_batch(&mut vec![1, 2, 3]).unwrap();
        let (tell, mut told) = Queue::channel(2).unwrap();
        let worker = Process::spawn(works, (queue.receiver().unwrap(), tell)).unwrap();
        told.recv().unwrap();
        told.recv().unwrap();
        assert!(!queue.join_timeout(SOON).unwrap());
        let mut joiner = queue.clone();
        let joins = thread::spawn(move || joiner.join().unwrap());
        until(|| queue.info().handles.iter().any(|handle| handle.is_asleep));
        worker.kill().unwrap();
        joins.join().unwrap();
        assert!(worker.join().is_err());
        let stats = queue.stats();
        assert_eq!((stats.sent, stats.received, stats.in_flight, stats.lost), (3, 2, 0, 1));
    });
}

/// Of two senders who are after the last room one is refused, and has no task in its hands.
#[test]
fn those_who_only_try_to_send_are_not_waited_for() {
    const ROUNDS: usize = 2000;
    const CAPACITY: usize = 30;
    watched("those_who_only_try_to_send", || {
        let mut queue = joinable(CAPACITY);
        let mut other = queue.clone();
        let (round, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=ROUNDS {
                    spin_until(|| round.load(Acquire) == number);
                    while other.try_send(1).is_ok() {}
                    done.store(number, Release);
                }
            });
            for number in 1..=ROUNDS {
                round.store(number, Release);
                while queue.try_send(2).is_ok() {}
                spin_until(|| done.load(Acquire) == number);
                assert_eq!(queue.drain().count(), CAPACITY);
                (0..CAPACITY).for_each(|_| queue.task_done().unwrap());
                // The other one is idle, and still there.
                queue.join().unwrap();
            }
        });
    });
}

fn spin_until(is_so: impl Fn() -> bool) {
    for spins in 1_u32.. {
        if is_so() {
            return;
        }
        if spins.is_multiple_of(1 << 12) {
            thread::yield_now();
        }
    }
}

/// What the dead held is a task of nobody's until somebody inherits it; still it is one.
#[test]
fn a_task_that_is_delivered_again_is_waited_for() {
    fn holds((mut tasks, mut told): (Receiver<u64>, Sender<()>)) {
        let _held = tasks.recv_guard().unwrap();
        told.send(()).unwrap();
        loop {
            thread::park();
        }
    }
    watched("a_task_that_is_delivered_again", || {
        let mut queue = Queue::builder().joinable(true).redeliver(true).bounded(4).unwrap();
        queue.send(7).unwrap();
        let (tell, mut told) = Queue::channel(1).unwrap();
        let worker = Process::spawn(holds, (queue.receiver().unwrap(), tell)).unwrap();
        told.recv().unwrap();
        worker.kill().unwrap();
        until(|| queue.info().handles.iter().any(|handle| handle.is_orphan));
        assert!(!queue.join_timeout(SOON).unwrap());
        let mut heir = queue.receiver().unwrap();
        let held = heir.recv_guard().unwrap();
        assert_eq!(held.get().unwrap(), 7);
        assert!(!queue.join_timeout(SOON).unwrap());
        drop(held);
        assert!(!queue.join_timeout(SOON).unwrap());
        heir.task_done().unwrap();
        queue.join().unwrap();
        assert!(worker.join().is_err());
    });
}

#[test]
fn tasks_need_a_queue_that_counts_them() {
    let mut queue = bounded::<u8>(1);
    queue.send(1).unwrap();
    queue.recv().unwrap();
    for error in [
        queue.task_done().unwrap_err(),
        queue.join().unwrap_err(),
        queue.join_timeout(SOON).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains("QueueBuilder::joinable"), "{error}");
    }
}

#[test]
fn a_queue_says_what_it_is() {
    let mut queue = bounded::<u64>(3);
    queue.send_batch(&mut vec![1, 2]).unwrap();
    let mut receiver = queue.receiver().unwrap();
    receiver.recv().unwrap();
    let info = queue.info();
    assert_eq!((info.depth, info.capacity, info.is_closed), (1, Some(3), false));
    assert_eq!((info.stats.sent, info.stats.received, info.stats.in_flight), (2, 1, 1));
    assert_eq!(info.stats, queue.stats());
    assert_eq!(info.handles.len(), 2);
    for handle in &info.handles {
        assert_eq!(handle.pid, std::process::id());
        assert!(!handle.holds_message && !handle.is_asleep && !handle.is_orphan);
    }
    let text = format!("{queue:?}");
    for word in ["depth: 1", "capacity: Some(3)", "closed: false", "handles: ["] {
        assert!(text.contains(word), "{text}");
    }
    assert!(format!("{:?}", queue.iter()).contains("QueueIter"));
    assert!(format!("{:?}", Queue::builder()).contains("QueueBuilder"));
}

#[test]
fn a_sleeper_is_seen() {
    watched("a_sleeper_is_seen", || {
        let mut queue = bounded::<u64>(1);
        let mut receiver = queue.receiver().unwrap();
        let sleeper = thread::spawn(move || receiver.recv().unwrap());
        until(|| {
            queue.info().handles.iter().any(|one| one.is_asleep && one.receives && !one.sends)
        });
        queue.send(1).unwrap();
        sleeper.join().unwrap();
        assert!(queue.info().handles.iter().all(|one| !one.is_asleep));
    });
}

#[test]
fn errors_say_what_happened_to_which_queue() {
    let (mut sender, mut receiver) = Queue::<u8>::channel(1).unwrap();
    assert_eq!(receiver.try_recv().unwrap_err().to_string(), "receiving on an empty queue");
    sender.send(1).unwrap();
    assert_eq!(sender.try_send(2).unwrap_err().to_string(), "sending on a full queue");
    let late = sender.send_timeout(2, Duration::ZERO).unwrap_err().to_string();
    assert_eq!(late, "sending on a queue: the time-out passed");
    drop(receiver);
    assert_eq!(sender.send(2).unwrap_err().to_string(), "sending on a closed queue");
}

/// Older kernels, and filters in containers: publishers fence, sleepers wait on one word.
#[test]
fn queues_work_without_membarrier_and_futex_waitv() {
    common::alone("old kernel", |()| {
        common::forbid(libc::SYS_membarrier, None, libc::EPERM);
        common::forbid(libc::SYS_futex_waitv, None, libc::ENOSYS);
        let (mut numbers, mut doubles) = (bounded(2), bounded(1));
        // The filter goes with the fork server, so the child has it as well.
        let worker = Process::spawn(double, (numbers.clone(), doubles.clone())).unwrap();
        for number in 0..2000 {
            numbers.send(number).unwrap();
            assert_eq!(doubles.recv().unwrap(), 2 * number);
        }
        let mut end = numbers.sender().unwrap();
        drop(numbers);
        worker.kill().unwrap();
        let unsent = (0..).find_map(|number| end.send(number).err()).unwrap();
        assert!(unsent.is_disconnected() && unsent.is_peer_dead());
    });
}
