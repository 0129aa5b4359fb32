//! What can be waited for among other things.

use std::os::fd::{AsFd, BorrowedFd};

use crate::channel::Connection;
use crate::error::{Error, Result};
use crate::pool::Task;
use crate::process::Process;
use crate::queue::{CanReceive, Queue};
use crate::raw::wait_many::Watched;
use crate::sync::{Event, EventWatch, Semaphore};

use sealed::Sealed;

pub(super) use sealed::Source;

/// What [`wait_any`](crate::wait_any) can wait for: a message of a [`Connection`] or a [`Queue`],
/// an [`Event`], a permit of a [`Semaphore`], the end of a [`Process`] or a [`Task`], and fds, as
/// [`Readable`]. References to them are as good.
///
/// No other type can be; one that has an fd to wait for is wrapped in [`Readable`].
///
/// # Examples
/// ```
/// use multiproc::{Event, Queue, Waitable, wait_any};
///
/// fn first(things: &mut [&mut dyn Waitable]) -> multiproc::Result<usize> {
///     Ok(wait_any(things, std::time::Duration::MAX)?[0])
/// }
///
/// let (mut event, mut inbox) = (Event::new()?, Queue::bounded(1)?);
/// inbox.send(7)?;
/// assert_eq!(first(&mut [&mut event, &mut inbox])?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Waitable: Sealed {}

mod sealed {
    use super::Kind;
    use crate::error::Result;

    pub trait Sealed {
        /// The thing, for one who waits for it from now on.
        fn source(&mut self) -> Result<Source<'_>>;
    }

    /// One of the things that a call waits for.
    pub struct Source<'a>(pub(in crate::select) Kind<'a>);
}

/// What kind of thing it is.
pub(super) enum Kind<'a> {
    Handle(&'a mut dyn Watched),
    Event(EventWatch<'a>),
    Fd(BorrowedFd<'a>),
}

/// Collects sources. An error says of which it is.
pub(super) fn all<'a>(
    sources: impl Iterator<Item = Result<Source<'a>>>,
) -> Result<Vec<Source<'a>>> {
    let named = |(index, source): (usize, Result<Source<'a>>)| {
        source.map_err(|error| Error::new(error.kind(), format!("source {index}")).because(error))
    };
    sources.enumerate().map(named).collect()
}

/// An fd that is waited for until it is readable, at its end, or broken: a listener, a socket, a
/// pipe, an eventfd.
///
/// It is any type that has an fd, or a reference to one.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
/// use multiproc::{Event, Readable, wait_any};
///
/// let (mut here, mut there) = UnixStream::pair()?;
/// let mut stop = Event::new()?;
/// there.write_all(b"!")?;
/// let ready = wait_any(&mut [&mut stop, &mut Readable(&here)], Duration::MAX)?;
/// assert_eq!(ready, [1]);
/// assert_eq!(here.read(&mut [0; 8])?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Readable<F>(pub F);

impl<Out, In, C> Waitable for Connection<Out, In, C> {}
impl<Out, In, C> Sealed for Connection<Out, In, C> {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Handle(self.watched()?)))
    }
}

impl<T, C, E: CanReceive> Waitable for Queue<T, C, E> {}
impl<T, C, E: CanReceive> Sealed for Queue<T, C, E> {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Handle(self.watched()?)))
    }
}

impl Waitable for Event {}
impl Sealed for Event {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Event(self.watched()?)))
    }
}

impl Waitable for Semaphore {}
impl Sealed for Semaphore {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Handle(self.watched()?)))
    }
}

impl<R> Waitable for Process<R> {}
impl<R> Sealed for Process<R> {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Handle(self.watched()?)))
    }
}

impl<R> Waitable for Task<R> {}
impl<R> Sealed for Task<R> {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Handle(self.watched())))
    }
}

impl<F: AsFd> Waitable for Readable<F> {}
impl<F: AsFd> Sealed for Readable<F> {
    fn source(&mut self) -> Result<Source<'_>> {
        Ok(Source(Kind::Fd(self.0.as_fd())))
    }
}

impl<W: Waitable + ?Sized> Waitable for &mut W {}
impl<W: Waitable + ?Sized> Sealed for &mut W {
    fn source(&mut self) -> Result<Source<'_>> {
        (**self).source()
    }
}

impl<W: Waitable + ?Sized> Waitable for Box<W> {}
impl<W: Waitable + ?Sized> Sealed for Box<W> {
    fn source(&mut self) -> Result<Source<'_>> {
        (**self).source()
    }
}
