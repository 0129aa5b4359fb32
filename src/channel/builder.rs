//! How a pipe is made.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::kind::Kind;
use crate::raw::lane::{Geometry, Lane, Role};
use crate::raw::wait::Fence;
use crate::segment::{self, Shared, Spec};
use crate::sys::socket;
use crate::transfer::codec::{Codec, Plain, Serde};
use crate::transfer::identity::fingerprint;

use super::connection::{Connection, Nothing};
use super::end::End;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::ring::lane_bytes;

/// A pipe of framed messages keeps this many bytes unless told otherwise, each way: 64 KiB.
const BYTES_DEFAULT: u64 = 64 << 10;
/// Less than this many bytes no pipe has.
const BYTES_MIN: u64 = 256;
/// More than this many bytes no pipe has: 1 GiB.
const BYTES_MAX: u64 = 1 << 30;
/// A pipe of plain values has up to this many slots unless told otherwise.
const SLOTS_DEFAULT: u64 = 1024;
/// ... and at least this many, however large they are.
const SLOTS_LEAST_DEFAULT: u64 = 16;
/// More than this many slots no pipe has.
const SLOTS_MAX: u64 = 1 << 30;

/// How a pipe is to be made.
///
/// # Examples
///
/// A pipe of plain numbers, which is the fastest there is:
///
/// ```
/// use multiproc::Pipe;
///
/// let (mut here, mut there) = Pipe::builder().plain().slots(64).duplex::<u64, u64>()?;
/// here.send(42)?;
/// assert_eq!(there.recv()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes nothing until `duplex` or `simplex`"]
pub struct PipeBuilder<C> {
    bytes: u64,
    slots: Option<u64>,
    is_fenced: bool,
    /// Whether it lies in memory of its own.
    is_apart: bool,
    codec: PhantomData<fn() -> C>,
}

impl PipeBuilder<Serde> {
    pub(super) fn new() -> Self {
        let (slots, is_fenced, is_apart) = (None, false, false);
        Self { bytes: BYTES_DEFAULT, slots, is_fenced, is_apart, codec: PhantomData }
    }
}

impl<C> Clone for PipeBuilder<C> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<C> PipeBuilder<C> {
    /// Messages are plain values ([`bytemuck::Pod`]), copied bit for bit into fixed slots.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::builder().plain().simplex::<[f32; 3]>()?;
    /// here.send([0.0, 0.5, 1.0])?;
    /// assert_eq!(there.recv()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plain(self) -> PipeBuilder<Plain> {
        self.codec()
    }

    /// Messages are encoded by `D`.
    ///
    /// # Examples
    ///
    /// For a peer that reads JSON, with `Json` as under [`Framed`](crate::Framed):
    ///
    /// ```
    /// use multiproc::Pipe;
    /// # use multiproc::{Codec, CodecError, Framed};
    /// # struct Json;
    /// # impl Framed for Json {}
    /// # impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Json {
    /// #     fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    /// #         Ok(serde_json::to_writer(bytes, value)?)
    /// #     }
    /// #     fn decode(bytes: &[u8]) -> Result<T, CodecError> {
    /// #         Ok(serde_json::from_slice(bytes)?)
    /// #     }
    /// # }
    ///
    /// let (mut here, mut there) = Pipe::builder().codec::<Json>().simplex::<Vec<u64>>()?;
    /// here.send(vec![1, 2, 3])?;
    /// assert_eq!(there.recv_bytes()?, b"[1,2,3]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D>(self) -> PipeBuilder<D> {
        let Self { bytes, slots, is_fenced, is_apart, .. } = self;
        PipeBuilder { bytes, slots, is_fenced, is_apart, codec: PhantomData }
    }

    /// How many bytes of framed messages fit each way: 256 to 2^30, rounded up to a power of two.
    /// Longer messages stream through. Half of it is the most that fits in one frame, for
    /// [`reserve`](Connection::reserve) and the `try_` verbs.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Pipe};
    ///
    /// let (mut here, mut there) = Pipe::builder().capacity(4096).simplex::<String>()?;
    /// // Half of it is the most that goes without waiting.
    /// let error = here.try_send("x".repeat(3000)).unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Limit);
    /// // Any length streams through, while somebody reads.
    /// let sending = std::thread::spawn(move || here.send("x".repeat(100_000)));
    /// assert_eq!(there.recv()?.len(), 100_000);
    /// sending.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.bytes = bytes as u64;
        self
    }

    /// How many plain values fit each way, exactly: 1 to 2^30.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, _there) = Pipe::builder().plain().slots(2).simplex::<u64>()?;
    /// here.try_send(1)?;
    /// here.try_send(2)?;
    /// assert!(here.try_send(3).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slots(mut self, count: usize) -> Self {
        self.slots = Some(count as u64);
        self
    }

    /// Makes every publication fence for itself, as where `membarrier` is denied. Slower; chosen
    /// without being asked where it is needed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::builder().fenced(true).simplex::<u64>()?;
    /// here.send(7)?;
    /// assert_eq!(there.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fenced(mut self, is_fenced: bool) -> Self {
        self.is_fenced = is_fenced;
        self
    }

    /// Puts it where nothing else is: whoever gets an end sees that memory and no other.
    pub(crate) fn apart(mut self) -> Self {
        self.is_apart = true;
        self
    }

    /// Makes a pipe on which both ends send and receive. See [`Pipe::duplex`](super::Pipe::duplex).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Pipe};
    ///
    /// let (mut here, mut there) = Pipe::builder().plain().slots(4).duplex::<u32, i64>()?;
    /// there.send(-7)?;
    /// assert_eq!(here.recv()?, -7);
    ///
    /// let error = Pipe::builder().capacity(1).duplex::<u32, i64>().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shared memory or file descriptors have run out, or a capacity is out of its range.
    #[allow(clippy::type_complexity, reason = "the pair is what it is")]
    pub fn duplex<A, B>(self) -> Result<(Connection<A, B, C>, Connection<B, A, C>)>
    where
        C: Codec<A> + Codec<B>,
    {
        let sockets =
            self.sockets(<C as Codec<A>>::SHAPE.is_plain() && <C as Codec<B>>::SHAPE.is_plain())?;
        let (there, here) = (self.lane::<A>()?, self.lane::<B>()?);
        let how = self.fence();
        let (left, right) = sockets.unzip();
        Ok((
            Connection::new(
                Some(Outlet::attach(there.writer, left.clone(), 0, how)?),
                Some(Inlet::attach(here.reader, left, how)?),
            ),
            Connection::new(
                Some(Outlet::attach(here.writer, right.clone(), 0, how)?),
                Some(Inlet::attach(there.reader, right, how)?),
            ),
        ))
    }

    /// Makes a pipe that goes one way. See [`Pipe::simplex`](super::Pipe::simplex).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut sender, mut receiver) = Pipe::builder().plain().simplex::<u8>()?;
    /// sender.send_batch(&mut b"hello".to_vec())?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shared memory or file descriptors have run out, or a capacity is out of its range.
    #[allow(clippy::type_complexity, reason = "the pair is what it is")]
    pub fn simplex<T>(self) -> Result<(Connection<T, Nothing, C>, Connection<Nothing, T, C>)>
    where
        C: Codec<T>,
    {
        let (left, right) = self.sockets(<C as Codec<T>>::SHAPE.is_plain())?.unzip();
        let lane = self.lane::<T>()?;
        let how = self.fence();
        Ok((
            Connection::new(Some(Outlet::attach(lane.writer, left, 0, how)?), None),
            Connection::new(None, Some(Inlet::attach(lane.reader, right, how)?)),
        ))
    }

    pub(super) fn fence(&self) -> Fence {
        if self.is_fenced { Fence::Full } else { Fence::best() }
    }

    /// The sockets beside the rings, on which the fds of handles travel. Plain values hold none.
    #[allow(clippy::type_complexity, reason = "a pair, or nothing")]
    fn sockets(
        &self,
        is_plain: bool,
    ) -> Result<Option<(Arc<std::os::fd::OwnedFd>, Arc<std::os::fd::OwnedFd>)>> {
        if is_plain {
            return Ok(None);
        }
        let (left, right) = socket::pair().context(|| "make the sockets of a pipe".to_owned())?;
        Ok(Some((Arc::new(left), Arc::new(right))))
    }

    fn lane<T>(&self) -> Result<NewLane>
    where
        C: Codec<T>,
    {
        let geometry = self.geometry::<T>()?;
        let init = prepare(geometry, None);
        let spec = lane_spec::<T>(geometry, &init)?;
        let made =
            if self.is_apart { segment::allocate_apart(&spec) } else { segment::allocate(&spec) };
        Ok(NewLane::of(made?))
    }

    pub(super) fn geometry<T>(&self) -> Result<Geometry>
    where
        C: Codec<T>,
    {
        let fingerprint = fingerprint::<T, C>();
        if !C::SHAPE.is_plain() {
            let capacity = check(self.bytes, BYTES_MIN, BYTES_MAX, "bytes")?.next_power_of_two();
            return Ok(Geometry { slot: None, capacity, fingerprint });
        }
        let size = size_of::<T>() as u64;
        let usual = (BYTES_DEFAULT / size.max(1)).clamp(SLOTS_LEAST_DEFAULT, SLOTS_DEFAULT);
        let capacity = check(self.slots.unwrap_or(usual), 1, SLOTS_MAX, "slots")?;
        let slot = u32::try_from(size)
            .map_err(|_| Error::new(ErrorKind::Limit, format!("a slot of {size} bytes")))?;
        Ok(Geometry { slot: Some(slot), capacity, fingerprint })
    }
}

/// What is made for a lane, which `init` completes.
pub(super) fn lane_spec<T>(
    geometry: Geometry,
    init: &dyn Fn(NonNull<u8>, u32),
) -> Result<Spec<'_>> {
    let bytes = lane_bytes::<T>(geometry).ok_or_else(|| {
        Error::new(ErrorKind::Limit, format!("a pipe of {} messages", geometry.capacity))
    })?;
    Ok(Spec { kind: Kind::Lane, bytes, furnished: bytes, init })
}

/// Completes a new lane: both sides are its maker's, or one is somebody else's.
pub(super) fn prepare(geometry: Geometry, given: Option<(Role, u32)>) -> impl Fn(NonNull<u8>, u32) {
    move |base, me| {
        // SAFETY: the block is zeroed, aligned and long enough, see `lane_spec`; a lane is atomics.
        let lane = unsafe { base.cast::<Lane>().as_ref() };
        lane.prepare(geometry, me);
        if let Some((role, whose)) = given {
            lane.hand_over(role, me, whose);
        }
    }
}

fn check(number: u64, least: u64, most: u64, unit: &str) -> Result<u64> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let what = format!("a pipe of {number} {unit}: it must have {least} to {most}");
    Err(Error::new(ErrorKind::Limit, what))
}

struct NewLane {
    writer: Arc<End>,
    reader: Arc<End>,
}

impl NewLane {
    fn of(shared: Shared) -> Self {
        let me = shared.segment().me();
        Self {
            writer: End::new(shared.clone(), Role::Writer, me),
            reader: End::new(shared, Role::Reader, me),
        }
    }
}
