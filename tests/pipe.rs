//! Pipes between threads of one process: every verb, every ending, every size. What happens between
//! processes is in the files about processes and deaths.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use multiproc::{Connection, ErrorKind, Nothing, Pipe, Plain, Process};

const SOON: Duration = Duration::from_millis(20);

type Value = (Vec<u32>, Option<u8>, String);

fn value() -> Value {
    (vec![42], None, "hello".to_owned())
}

#[test]
fn c1_a_heterogeneous_value_arrives_equal_and_then_the_end() {
    fn child(mut parent: Connection<Value, ()>) {
        parent.send(value()).unwrap();
    }
    let (mut here, there) = Pipe::duplex::<(), Value>().unwrap();
    let process = Process::spawn(child, there).unwrap();
    assert_eq!(here.recv().unwrap(), value());
    assert!(here.recv().unwrap_err().is_disconnected());
    process.join().unwrap();
}

#[test]
fn a_closed_pipe_gives_the_value_back() {
    let (mut here, there) = Pipe::duplex::<Value, Value>().unwrap();
    drop(there);
    assert!(here.recv().unwrap_err().is_disconnected());
    let unsent = here.send(value()).unwrap_err();
    assert!(unsent.is_disconnected() && !unsent.is_peer_dead());
    assert_eq!(unsent.into_inner(), value());
}

/// 64 MiB through 64 KiB, as bytes and as a typed message, there and back.
#[test]
fn large_messages_stream_between_processes() {
    const SIZE: usize = 64 << 20;
    fn child(mut parent: Connection<Vec<u8>, Vec<u8>>) {
        let bytes = parent.recv_bytes().unwrap();
        parent.send_bytes(&bytes).unwrap();
        let typed = parent.recv().unwrap();
        parent.send(typed).unwrap();
    }
    let (mut here, there) = Pipe::duplex::<Vec<u8>, Vec<u8>>().unwrap();
    let process = Process::spawn(child, there).unwrap();
    let message: Vec<u8> = (0..SIZE).map(|i| (i / 5) as u8).collect();
    here.send_bytes(&message).unwrap();
    let mut buffer = vec![0; SIZE];
    assert_eq!(here.recv_bytes_into(&mut buffer).unwrap(), SIZE);
    assert!(buffer == message);
    here.send(buffer).unwrap();
    assert!(here.recv().unwrap() == message);
    process.join().unwrap();
}

/// Older kernels, and filters in containers: publishers fence, sleepers wait on one word.
#[test]
fn pipes_work_without_membarrier_and_futex_waitv() {
    fn echo(mut both: Connection<u64, u64, Plain>) {
        while let Ok(value) = both.recv() {
            both.send(value).unwrap();
        }
    }
    common::alone("old kernel", |()| {
        common::forbid(libc::SYS_membarrier, None, libc::EPERM);
        common::forbid(libc::SYS_futex_waitv, None, libc::ENOSYS);
        let (mut here, there) = Pipe::builder().plain().slots(2).duplex::<u64, u64>().unwrap();
        // The filter goes with the fork server, so the child has it as well.
        let process = Process::spawn(echo, there).unwrap();
        for value in 0..2000 {
            here.send(value).unwrap();
            assert_eq!(here.recv().unwrap(), value);
        }
        process.kill().unwrap();
        assert!(here.recv().unwrap_err().is_peer_dead());
    });
}

#[test]
fn an_empty_pipe_says_so_and_a_timeout_takes_its_time() {
    let (mut here, _there) = Pipe::duplex::<u8, u8>().unwrap();
    assert!(here.try_recv().unwrap_err().is_empty());
    let start = Instant::now();
    assert!(here.recv_timeout(SOON).unwrap_err().is_timeout());
    assert!(start.elapsed() >= SOON);
    assert!(!here.poll(Duration::ZERO).unwrap());
    assert!(!here.poll(SOON).unwrap());
}

#[test]
fn a_full_pipe_gives_the_value_back() {
    for slots in [1, 2, 3, 7] {
        let (mut here, mut there) = Pipe::builder().plain().slots(slots).simplex::<u64>().unwrap();
        for value in 0..slots as u64 {
            here.try_send(value).unwrap();
        }
        let full = here.try_send(99).unwrap_err();
        assert!(full.is_full());
        assert_eq!(full.into_inner(), 99);
        assert!(here.send_timeout(98, SOON).unwrap_err().is_timeout());
        for value in 0..slots as u64 {
            assert_eq!(there.try_recv().unwrap(), value);
        }
        assert!(there.try_recv().unwrap_err().is_empty());
    }
}

#[test]
fn poll_is_true_for_a_message_and_at_the_end() {
    let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
    here.send("x".to_owned()).unwrap();
    assert!(there.poll(Duration::from_secs(60)).unwrap());
    assert_eq!(there.recv().unwrap(), "x");
    drop(here);
    assert!(there.poll(Duration::from_secs(60)).unwrap());
    assert!(there.recv().unwrap_err().is_disconnected());
}

#[test]
fn a_sleeping_reader_and_a_sleeping_writer_are_woken() {
    let (mut here, mut there) = Pipe::builder().plain().slots(2).duplex::<u64, u64>().unwrap();
    let echo = thread::spawn(move || {
        while let Ok(value) = there.recv() {
            there.send(value + 1).unwrap();
        }
    });
    for value in 0..20_000 {
        here.send(value).unwrap();
        assert_eq!(here.recv().unwrap(), value + 1);
    }
    drop(here);
    echo.join().unwrap();
}

#[test]
fn a_closing_end_wakes_a_sleeper() {
    let (here, mut there) = Pipe::simplex::<u8>().unwrap();
    let sleeper = thread::spawn(move || there.recv().unwrap_err().is_disconnected());
    drop(here);
    assert!(sleeper.join().unwrap());
    let (mut here, there) = Pipe::builder().plain().slots(1).simplex::<u8>().unwrap();
    here.send(1).unwrap();
    let sleeper = thread::spawn(move || here.send(2).unwrap_err().is_disconnected());
    drop(there);
    assert!(sleeper.join().unwrap());
}

#[test]
fn messages_of_every_size_stream_through_a_small_pipe() {
    let (mut here, mut there) = Pipe::builder().capacity(1024).duplex::<(), ()>().unwrap();
    let sizes =
        [0, 1, 7, 8, 9, 247, 248, 249, 255, 256, 257, 511, 512, 1023, 1024, 100_000, 3 << 20];
    let writer = thread::spawn(move || {
        for size in sizes {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
            here.send_bytes(&bytes).unwrap();
        }
        here
    });
    for size in sizes {
        let bytes = there.recv_bytes().unwrap();
        assert_eq!(bytes.len(), size);
        assert!(bytes.iter().enumerate().all(|(i, byte)| *byte == (i * 7) as u8));
    }
    drop(writer.join().unwrap());
    assert!(there.recv_bytes().unwrap_err().is_disconnected());
}

#[test]
fn a_long_typed_message_streams_as_well() {
    let (mut here, mut there) = Pipe::builder().capacity(512).simplex::<Vec<u64>>().unwrap();
    let sent: Vec<u64> = (0..100_000).collect();
    let expected = sent.clone();
    let writer = thread::spawn(move || here.send(sent));
    assert_eq!(there.recv().unwrap(), expected);
    writer.join().unwrap().unwrap();
}

#[test]
fn a_long_message_that_stalls_is_dropped_and_the_next_one_arrives() {
    let (mut here, mut there) = Pipe::builder().capacity(512).duplex::<(), ()>().unwrap();
    assert!(here.send_bytes_timeout(&[1; 10_000], SOON).unwrap_err().is_timeout());
    assert!(there.try_recv_bytes().unwrap_err().is_empty());
    here.send_bytes(b"next").unwrap();
    assert_eq!(there.recv_bytes().unwrap(), b"next");
    // And one that is given up by closing in the middle.
    assert!(here.send_bytes_timeout(&[2; 10_000], SOON).unwrap_err().is_timeout());
    drop(here);
    assert!(there.recv_bytes().unwrap_err().is_disconnected());
}

#[test]
fn a_message_given_up_while_it_streams_into_a_buffer_gives_way_to_the_next() {
    let (mut here, mut there) = Pipe::builder().capacity(512).duplex::<(), ()>().unwrap();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 10_000];
        let first = there.recv_bytes_into(&mut buffer).map(|length| buffer[..length].to_vec());
        (first, there.recv_bytes_into(&mut buffer))
    });
    // The reader is at it, so a part goes through; then the rest does not come.
    let mut draft = here.reserve(200).unwrap();
    draft.fill(0);
    drop(draft);
    let _ = here.send_bytes_timeout(&[1; 10_000], Duration::ZERO);
    let _ = here.send_bytes_timeout(&[2; 10_000], Duration::ZERO);
    here.send_bytes(&[3; 5000]).unwrap();
    drop(here);
    let (first, second) = reader.join().unwrap();
    // Which of the first two came through whole is a matter of time; torn they never are.
    let first = first.unwrap();
    assert!(first.iter().all(|byte| *byte == first[0]));
    assert!(first.len() == if first[0] == 3 { 5000 } else { 10_000 });
    assert!(first[0] != 3 || second.unwrap_err().is_disconnected());
}

#[test]
fn a_writer_that_closes_while_a_message_streams_into_a_buffer_is_the_end() {
    let (mut here, mut there) = Pipe::builder().capacity(512).duplex::<(), ()>().unwrap();
    assert!(here.send_bytes_timeout(&[1; 10_000], SOON).unwrap_err().is_timeout());
    drop(here);
    let mut buffer = vec![0; 10_000];
    assert!(there.recv_bytes_into(&mut buffer).unwrap_err().is_disconnected());
}

#[test]
fn what_never_fits_without_waiting_says_so() {
    let (mut here, _there) = Pipe::builder().capacity(512).duplex::<(), ()>().unwrap();
    let error = here.try_send_bytes(&[0; 400]).unwrap_err();
    assert_eq!(error.error().unwrap().kind(), ErrorKind::Limit);
    let error = here.reserve(400).unwrap_err();
    assert_eq!(error.error().unwrap().kind(), ErrorKind::Limit);
    here.try_send_bytes(&[0; 240]).unwrap();
}

#[test]
fn bytes_are_written_and_read_in_place() {
    let (mut here, mut there) = Pipe::duplex::<(), ()>().unwrap();
    drop(here.reserve(100).unwrap());
    let mut draft = here.reserve(100).unwrap();
    draft[..3].copy_from_slice(b"abc");
    draft.commit(3).unwrap();
    assert_eq!(&*there.peek().unwrap(), b"abc");
    let message = there.peek().unwrap();
    assert_eq!(&*message, b"abc");
    message.consume().unwrap();
    assert!(there.try_peek().unwrap_err().is_empty());
}

#[test]
fn room_in_place_and_a_look_are_waited_for_as_long_as_one_likes() {
    let (mut here, mut there) = Pipe::builder().capacity(256).duplex::<(), ()>().unwrap();
    assert!(there.peek_timeout(SOON).unwrap_err().is_timeout());
    drop(here.try_reserve(100).unwrap());
    here.try_reserve(120).unwrap().commit(100).unwrap();
    here.reserve_timeout(100, SOON).unwrap().commit(100).unwrap();
    assert!(here.try_reserve(100).unwrap_err().is_full());
    assert!(here.reserve_timeout(100, SOON).unwrap_err().is_timeout());
    for _ in 0..2 {
        assert_eq!(there.peek_timeout(Duration::ZERO).unwrap().len(), 100);
        there.try_peek().unwrap().consume().unwrap();
    }
    let never = here.try_reserve(300).unwrap_err();
    assert!(never.error().is_some() && !never.is_full(), "{never}");
    drop(there);
    assert!(here.try_reserve(1).unwrap_err().is_disconnected());
}

/// A message that does not come to its end in time is not lost: what came is put together.
#[test]
fn a_buffer_is_filled_within_a_time() {
    let (mut here, mut there) = Pipe::builder().capacity(4096).duplex::<(), ()>().unwrap();
    let mut buffer = vec![0; 20_000];
    assert!(there.try_recv_bytes_into(&mut buffer).unwrap_err().is_empty());
    assert!(there.recv_bytes_into_timeout(&mut buffer, SOON).unwrap_err().is_timeout());
    let writer = thread::spawn(move || {
        here.send_bytes(&[7; 20_000]).unwrap();
        here
    });
    let mut looks = 0;
    let received = loop {
        match there.try_recv_bytes_into(&mut buffer) {
            Ok(received) => break received,
            Err(error) => assert!(error.is_empty(), "{error}"),
        }
        looks += 1;
    };
    println!("{looks} looks at a message that was coming");
    assert!(received == 20_000 && buffer.iter().all(|byte| *byte == 7));
    let mut here = writer.join().unwrap();
    here.send_bytes(b"hello").unwrap();
    let short = there.recv_bytes_into_timeout(&mut buffer[..4], SOON).unwrap_err();
    assert_eq!(short.error().map(multiproc::Error::kind), Some(ErrorKind::Limit));
    assert_eq!(there.recv_bytes_into_timeout(&mut buffer, SOON).unwrap(), 5);
    assert_eq!(buffer[..5], *b"hello");
    drop(here);
    assert!(there.try_recv_bytes_into(&mut buffer).unwrap_err().is_disconnected());
}

#[test]
fn a_short_buffer_leaves_the_message() {
    for size in [100, 100_000] {
        let (mut here, mut there) = Pipe::builder().capacity(4096).duplex::<(), ()>().unwrap();
        let writer = thread::spawn(move || here.send_bytes(&vec![5; size]));
        let mut buffer = vec![0; size];
        let error = there.recv_bytes_into(&mut buffer[..size - 1]).unwrap_err();
        assert!(error.to_string().contains(&size.to_string()), "{error}");
        assert_eq!(there.recv_bytes_into(&mut buffer).unwrap(), size);
        assert!(buffer.iter().all(|byte| *byte == 5));
        writer.join().unwrap().unwrap();
    }
}

#[test]
fn batches_keep_order_and_lose_nothing() {
    let (mut here, mut there) = Pipe::builder().plain().slots(5).simplex::<u32>().unwrap();
    let writer = thread::spawn(move || {
        let mut batch: Vec<u32> = (0..1000).collect();
        here.send_batch(&mut batch).unwrap();
        assert!(batch.is_empty());
    });
    let mut received = Vec::new();
    while received.len() < 1000 {
        assert!(there.recv_batch(&mut received, 7).unwrap() <= 7);
    }
    writer.join().unwrap();
    assert_eq!(received, (0..1000).collect::<Vec<_>>());
    assert!(there.recv_batch(&mut received, 7).unwrap_err().is_disconnected());
}

#[test]
fn an_interrupted_batch_keeps_what_was_not_sent() {
    let (mut here, mut there) = Pipe::builder().plain().slots(4).simplex::<u32>().unwrap();
    let mut batch: Vec<u32> = (0..4).collect();
    here.send_batch(&mut batch).unwrap();
    assert_eq!(there.recv().unwrap(), 0);
    drop(there);
    batch.extend([10, 11]);
    assert!(here.send_batch(&mut batch).unwrap_err().is_disconnected());
    assert_eq!(batch, [10, 11]);
    let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
    let mut batch: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    here.send_batch(&mut batch).unwrap();
    let mut received = Vec::new();
    assert_eq!(there.recv_batch(&mut received, 100).unwrap(), 10);
    assert_eq!(received[9], "9");
}

#[test]
fn split_halves_work_in_two_threads() {
    let (here, mut there) = Pipe::duplex::<u32, u32>().unwrap();
    let (mut out, mut inn) = here.split();
    let sender = thread::spawn(move || (0..1000).for_each(|value| out.send(value).unwrap()));
    let echo = thread::spawn(move || {
        while let Ok(value) = there.recv() {
            there.send(value).unwrap();
        }
    });
    assert_eq!(inn.iter().take(1000).sum::<u32>(), 499_500);
    sender.join().unwrap();
    echo.join().unwrap();
}

#[test]
fn bytes_that_are_no_message_are_an_error_and_the_next_is_fine() {
    let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
    here.send_bytes(&[3, 0xff, 0xff, 0xff]).unwrap();
    here.send("fine".to_owned()).unwrap();
    let error = there.recv().unwrap_err();
    assert_eq!(error.error().unwrap().kind(), ErrorKind::Codec);
    assert_eq!(there.recv().unwrap(), "fine");
}

#[test]
fn connections_travel_through_connections() {
    let (mut here, mut there) = Pipe::simplex::<Connection<String, Nothing>>().unwrap();
    for round in 0..100 {
        let (out, mut inn) = Pipe::simplex::<String>().unwrap();
        here.send(out).unwrap();
        let mut arrived = there.recv().unwrap();
        arrived.send(format!("round {round}")).unwrap();
        drop(arrived);
        assert_eq!(inn.recv().unwrap(), format!("round {round}"));
        assert!(inn.recv().unwrap_err().is_disconnected());
    }
}

#[test]
fn what_was_in_a_moved_pipe_moves_with_it() {
    let (mut here, mut there) =
        Pipe::simplex::<(Connection<u64, Nothing, Plain>, Connection<Nothing, u64, Plain>)>()
            .unwrap();
    let (mut out, inn) = Pipe::builder().plain().slots(8).simplex::<u64>().unwrap();
    out.send(1).unwrap();
    out.send(2).unwrap();
    here.send((out, inn)).unwrap();
    let (mut out, mut inn) = there.recv().unwrap();
    out.send(3).unwrap();
    drop(out);
    assert_eq!(inn.iter().take(1).collect::<Vec<_>>(), [1]);
    let mut rest = Vec::new();
    for number in &mut inn {
        rest.push(number);
    }
    assert_eq!(rest, [2, 3]);
}

#[test]
fn a_handle_that_could_not_be_sent_comes_back_whole() {
    let (mut here, there) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
    drop(there);
    let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
    let unsent = here.send(out).unwrap_err();
    assert!(unsent.is_disconnected());
    let mut out = unsent.into_inner();
    out.send(7).unwrap();
    assert_eq!(inn.recv().unwrap(), 7);
}

#[test]
fn a_handle_in_a_message_that_nobody_reads_is_closed() {
    let (mut here, there) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
    let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
    here.send(out).unwrap();
    drop(here);
    drop(there);
    // Its courier died with the socket: whoever waits finds out.
    assert!(inn.recv_timeout(Duration::from_secs(60)).unwrap_err().is_disconnected());
}

#[test]
fn a_handle_received_as_bytes_is_closed() {
    let (mut here, mut there) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
    let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
    here.send(out).unwrap();
    assert!(!there.recv_bytes().unwrap().is_empty());
    assert!(inn.recv_timeout(Duration::from_secs(60)).unwrap_err().is_disconnected());
}

#[test]
fn outside_a_parcel_a_handle_refuses_to_be_serialized() {
    let (here, _there) = Pipe::duplex::<u8, u8>().unwrap();
    let error = serde_json::to_string(&here).unwrap_err().to_string();
    assert!(error.contains("outside a parcel") && error.contains("connections"), "{error}");
    let ticket = r#"{"outlet":{"block":0,"fingerprint":0,"letters":0},"inlet":null,"socket":null}"#;
    let error = serde_json::from_str::<Connection<u8, u8>>(ticket).unwrap_err().to_string();
    assert!(error.contains("outside a parcel"), "{error}");
}

#[test]
fn capacities_out_of_range_are_errors() {
    for bytes in [0, 255, (1 << 30) + 1] {
        let error = Pipe::builder().capacity(bytes).duplex::<u8, u8>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
    for slots in [0, (1 << 30) + 1] {
        let error = Pipe::builder().plain().slots(slots).duplex::<u8, u8>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
    let error = Pipe::builder().plain().slots(1 << 30).simplex::<[[u64; 64]; 4096]>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn fenced_pipes_work_the_same() {
    let (mut here, mut there) =
        Pipe::builder().plain().slots(4).fenced(true).duplex::<u64, u64>().unwrap();
    let echo = thread::spawn(move || {
        while let Ok(value) = there.recv() {
            there.send(value).unwrap();
        }
    });
    for value in 0..5000 {
        here.send(value).unwrap();
        assert_eq!(here.recv().unwrap(), value);
    }
    drop(here);
    echo.join().unwrap();
}
