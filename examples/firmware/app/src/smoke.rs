//! Lets a host try what a board provides: the link in both directions, the clock, and the panic handler.

use core::fmt::Write as _;

use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{ErrorKind, Read, ReadExactError, Write};
use static_cell::ConstStaticCell;

use crate::link::Stream as _;
use crate::{Arguments, Board, Failure, Link};

/// Serves the host's requests, until it asks for the end. Each is a letter and a number (u32, little-endian):
///
/// | request | answer |
/// |---|---|
/// | `S` n | n bytes: those of [`pattern`] |
/// | `R` n, then n bytes | the bytes' [`checksum`], u32 |
/// | `W` n | after n ms of waiting: how long it took by the board's clock, in µs, u32 |
/// | `P` n | none: panics, and says n |
/// | `Q` 0 | none: ends |
///
/// # Errors
///
/// If an argument is bad, or the link, or a request.
pub async fn smoke<B: Board>(board: B) -> Result<(), Failure> {
    static BUFFER: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);
    let buffer = BUFFER.take();
    let mut console = board.console();
    let arguments = Arguments::new(board.arguments());
    let _ = writeln!(console, "arguments: {}", board.arguments());
    let mut link = board.link();
    let mut stream = link.open(&arguments).await?;
    let _ = writeln!(console, "smoke");
    loop {
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.map_err(|error| match error {
            ReadExactError::UnexpectedEof => Failure::Lost(ErrorKind::ConnectionAborted),
            ReadExactError::Other(error) => Failure::lost(error),
        })?;
        let [kind, number @ ..] = request;
        let number = u32::from_le_bytes(number);
        match kind {
            b'S' => send(&mut stream, number, buffer).await?,
            b'R' => receive(&mut stream, number, buffer).await?,
            b'W' => wait(&mut stream, number).await?,
            b'P' => panic!("asked to panic: {number}"),
            b'Q' => break,
            other => return Err(Failure::Request(other)),
        }
    }
    stream.close().await;
    Ok(())
}

/// The byte at `index` of what a board sends.
pub fn pattern(index: u32) -> u8 {
    (index % 251) as u8
}

/// What bytes add up to, after those that added up to `sum`; their order matters.
pub fn checksum(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

async fn send<S: Write>(stream: &mut S, count: u32, buffer: &mut [u8]) -> Result<(), Failure> {
    let mut sent = 0;
    while sent < count {
        let len = buffer.len().min((count - sent) as usize);
        for (byte, index) in buffer[..len].iter_mut().zip(sent..) {
            *byte = pattern(index);
        }
        stream.write_all(&buffer[..len]).await.map_err(Failure::lost)?;
        sent += len as u32;
    }
    Ok(())
}

async fn receive<S: Read + Write>(stream: &mut S, count: u32, buffer: &mut [u8]) -> Result<(), Failure> {
    let mut left = count as usize;
    let mut sum = 0;
    while left > 0 {
        let room = buffer.len().min(left);
        let len = stream.read(&mut buffer[..room]).await.map_err(Failure::lost)?;
        if len == 0 {
            return Err(Failure::Lost(ErrorKind::ConnectionAborted));
        }
        sum = checksum(sum, &buffer[..len]);
        left -= len;
    }
    stream.write_all(&sum.to_le_bytes()).await.map_err(Failure::lost)
}

async fn wait<S: Write>(stream: &mut S, milliseconds: u32) -> Result<(), Failure> {
    let start = Instant::now();
    Timer::after(Duration::from_millis(milliseconds.into())).await;
    let elapsed = start.elapsed().as_micros() as u32;
    stream.write_all(&elapsed.to_le_bytes()).await.map_err(Failure::lost)
}
