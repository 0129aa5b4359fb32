//! What the fuzzers reach below the public face. Exists only where cargo-fuzz builds.
#![allow(unsafe_code)]
#![allow(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::{Connection, Nothing};
use crate::error::{Context, Result};
use crate::raw::frame::{FrameConsumer, FrameProducer, FrameView, Reservation, Reserve};
use crate::raw::memory::BytesAt;
use crate::sys::clock::Deadline;
use crate::sys::letter;
use crate::transfer;
use crate::transfer::codec::Plain;

/// Lets the next object begin a new segment.
pub fn forget_arenas() {
    crate::segment::forget_arenas();
}

/// Plays a script under a segment.
pub fn play_segment(script: &[u8]) {
    crate::segment::hostile::play(script);
}

/// Plays a script in place of the words of parent, fork server and child.
pub fn play_words(script: &[u8]) {
    crate::process::hostile::play(script);
}

/// Plays a script in place of the words of a pool and its workers.
pub fn play_wire(script: &[u8]) {
    crate::pool::hostile::play(script);
}

/// Plays a script in place of the words between a manager's server and its clients.
pub fn play_calls(script: &[u8]) {
    crate::manager::hostile::play(script);
}

/// Plays a script in place of what a stranger says to a listener, or a listener to a stranger.
pub fn play_handshake(script: &[u8]) -> bool {
    crate::listener::hostile::play(script)
}

/// Receives a letter that must be there already: its bytes, and how many fds it has.
pub fn receive_letter(socket: BorrowedFd<'_>) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    let letter = letter::receive(socket, Deadline::after(Duration::ZERO))?;
    Ok(letter.map(|letter| (letter.bytes, letter.fds.len())))
}

#[derive(Serialize, Deserialize)]
pub struct Load {
    pub number: u32,
    pub text: Option<String>,
    pub framed: Vec<Connection<String, String>>,
    pub plain: Option<(Connection<u64, Nothing, Plain>, Connection<Nothing, u64, Plain>)>,
    pub named: BTreeMap<String, Connection<Nothing, u8>>,
}

/// The bytes of a parcel, and copies of the fds that travel with it.
pub fn pack(load: &Load) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    let parcel = transfer::pack(load)?;
    let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned()).collect();
    let fds: std::io::Result<Vec<OwnedFd>> = fds;
    let packed = (parcel.bytes().to_vec(), fds.context(|| "copy the fds of a parcel".to_owned())?);
    parcel.commit();
    Ok(packed)
}

/// Opens what came as a parcel.
pub fn unpack(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Load> {
    transfer::unpack(bytes, fds)
}

/// Both ends of a byte ring.
pub struct Frames {
    base: usize,
    length: usize,
    producer: Option<FrameProducer<BytesAt>>,
    consumer: Option<FrameConsumer<BytesAt>>,
    reservation: Option<Reservation>,
    memory: NonNull<u8>,
    capacity: u64,
}

impl Frames {
    /// # Safety
    /// - The bytes are valid, and nothing but this ring touches them while one of its calls runs.
    pub unsafe fn new(base: NonNull<u8>, length: usize, capacity: u64) -> Self {
        let mut frames = Self {
            base: base.as_ptr() as usize,
            length,
            producer: None,
            consumer: None,
            reservation: None,
            memory: base,
            capacity,
        };
        frames.attach();
        frames
    }

    /// Attaches both ends again, as after a journey.
    pub fn attach(&mut self) {
        let base = self.memory;
        // SAFETY: promised in `new`; the ends of before are replaced.
        let bytes = || unsafe { BytesAt::new(base, self.length, self.capacity) }.ok();
        self.reservation = None;
        self.producer = bytes().and_then(|bytes| FrameProducer::attach(bytes).ok());
        self.consumer = bytes().and_then(|bytes| FrameConsumer::attach(bytes).ok());
    }

    pub fn reserve(&mut self, length: usize) {
        let Some(producer) = &mut self.producer else { return };
        self.reservation = match producer.reserve(length) {
            Ok(Reserve::Granted(reservation)) => {
                let start = reservation.payload.as_ptr() as usize;
                assert!(reservation.length as usize == length);
                assert!(self.base + 128 <= start && start + length <= self.base + self.length);
                // SAFETY: in range, as was just checked.
                unsafe { reservation.payload.as_ptr().write_bytes(0xa5, length) };
                Some(reservation)
            }
            _ => None,
        };
    }

    pub fn commit(&mut self, most: usize, flags: u8) {
        let Some(producer) = &mut self.producer else { return };
        if let Some(reservation) = self.reservation.take() {
            let length = most.min(reservation.length as usize);
            producer.commit(reservation, length, flags);
        }
    }

    pub fn peek(&mut self) -> u64 {
        let Some(Ok(Some(view))) = self.consumer.as_mut().map(FrameConsumer::peek) else {
            return 0;
        };
        let FrameView { payload, length, .. } = view;
        let (start, length) = (payload.as_ptr() as usize, length as usize);
        assert!(self.base + 128 <= start && start + length <= self.base + self.length);
        // SAFETY: in range, as was just checked.
        let bytes = unsafe { std::slice::from_raw_parts(payload.as_ptr(), length) };
        bytes.iter().map(|byte| u64::from(*byte)).sum()
    }

    pub fn release(&mut self) {
        if let Some(consumer) = &mut self.consumer {
            consumer.release();
        }
    }
}
