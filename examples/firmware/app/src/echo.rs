//! Sends back what comes.

use core::fmt::Write as _;

use embedded_io_async::{Read as _, Write as _};
use static_cell::ConstStaticCell;

use crate::link::Stream as _;
use crate::{Arguments, Board, Failure, Link};

/// Sends back what comes, until the host ends the stream, or as many bytes went as the argument `bytes` says.
///
/// What an image costs that has a link to a host and nothing else: the figures of the library are what an image has
/// beyond this one.
///
/// # Errors
///
/// If an argument is bad, or the link.
pub async fn echo<B: Board>(board: B) -> Result<(), Failure> {
    static BUFFER: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);
    let buffer = BUFFER.take();
    let mut console = board.console();
    let arguments = Arguments::new(board.arguments());
    let mut left = arguments.find("bytes")?.unwrap_or(usize::MAX);
    let mut link = board.link();
    let mut stream = link.open(&arguments).await?;
    let _ = writeln!(console, "echo");
    while left > 0 {
        let room = buffer.len().min(left);
        let len = stream.read(&mut buffer[..room]).await.map_err(Failure::lost)?;
        if len == 0 {
            break;
        }
        stream.write_all(&buffer[..len]).await.map_err(Failure::lost)?;
        left -= len;
    }
    stream.close().await;
    Ok(())
}
