//! Makes pairs of connections.

use crate::error::Result;
use crate::transfer::codec::{Codec, Serde};

use super::builder::PipeBuilder;
use super::connection::{Connection, Nothing};

/// Makes pipes: pairs of [`Connection`]s in shared memory.
///
/// # Examples
///
/// ```
/// use multiproc::{Connection, Nothing, Pipe, Process};
///
/// fn child(mut lines: Connection<Nothing, String>) -> usize {
///     lines.iter().map(|line| line.len()).sum()
/// }
///
/// let (mut here, there) = Pipe::simplex::<String>()?;
/// let process = Process::spawn(child, there)?;
/// here.send("hello".to_owned())?;
/// here.send("world".to_owned())?;
/// drop(here);
/// assert_eq!(process.join()?, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pipe(());

impl Pipe {
    /// Makes a pipe on which both ends send and receive: `A` one way, `B` the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::duplex::<u64, String>()?;
    /// here.send(7)?;
    /// let number = there.recv()?;
    /// there.send(number.to_string())?;
    /// assert_eq!(here.recv()?, "7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shared memory or file descriptors have run out.
    #[doc(alias = "Pipe(duplex=True)")]
    #[allow(clippy::type_complexity, reason = "the pair is what it is")]
    pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)>
    where
        Serde: Codec<A> + Codec<B>,
    {
        Self::builder().duplex()
    }

    /// Makes a pipe that goes one way: the first end sends, the second receives.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut sender, mut receiver) = Pipe::simplex::<u64>()?;
    /// sender.send(7)?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shared memory or file descriptors have run out.
    #[doc(alias = "Pipe(duplex=False)")]
    #[allow(clippy::type_complexity, reason = "the pair is what it is")]
    pub fn simplex<T>() -> Result<(Connection<T, Nothing>, Connection<Nothing, T>)>
    where
        Serde: Codec<T>,
    {
        Self::builder().simplex()
    }

    /// Starts to make a pipe with a codec or a capacity of one's own.
    ///
    /// # Examples
    ///
    /// Room for large messages, so that they need not stream through:
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::builder().capacity(1 << 20).simplex::<String>()?;
    /// here.try_send("x".repeat(500_000))?;
    /// assert_eq!(there.recv()?.len(), 500_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> PipeBuilder<Serde> {
        PipeBuilder::new()
    }
}
