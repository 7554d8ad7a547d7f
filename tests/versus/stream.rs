//! One direction of one link: a broadcast of rank 0, which hosts the hub, to rank 1, beside a plain socket.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use super::libraries::{Failure, Library, Programs};

/// Bytes of one measurement, and of each read and write of the plain program.
const LEN: usize = 64 << 20;
const PIECE: usize = 256 * 1024;

/// Prints the rates of both, turn by turn, and their ratio.
pub fn compare(programs: &Programs, turns: u32) -> Result<(), Failure> {
    println!("\n| link | plain socket, MB/s | edgempi, MB/s | ratio |\n|---|---|---|---|");
    for (name, library) in [("TCP", Library::EdgempiTcp), ("Unix socket", Library::Edgempi)] {
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            let seconds = match library {
                Library::EdgempiTcp => tcp().and_then(|(from, to)| stream(from, to)),
                _ => UnixStream::pair().and_then(|(from, to)| stream(from, to)),
            };
            plain.push(LEN as f64 / seconds.map_err(refused)? / 1e6);
            ours.push(LEN as f64 / programs.broadcast(library, LEN)?);
        }
        let (plain, ours) = (median(plain), median(ours));
        println!("| {name} | {plain:.0} | {ours:.0} | {:.2} |", ours / plain);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let from = TcpStream::connect(listener.local_addr()?)?;
    Ok((from, listener.accept()?.0))
}

/// Seconds that a plain program takes: the median of several rounds.
fn stream<S: Read + Write + Send>(mut from: S, mut to: S) -> io::Result<f64> {
    const ROUNDS: usize = 9;
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let piece = vec![1u8; PIECE];
            for _ in 0..ROUNDS {
                for _ in 0..LEN / PIECE {
                    from.write_all(&piece)?;
                }
                // The next round begins when this one is over.
                from.read_exact(&mut [0])?;
            }
            io::Result::Ok(())
        });
        let mut vector = vec![0u8; LEN];
        let mut seconds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for piece in vector.chunks_mut(PIECE) {
                to.read_exact(piece)?;
            }
            seconds.push(start.elapsed().as_secs_f64());
            to.write_all(&[0])?;
        }
        writing.join().expect("a writer does not panic")?;
        Ok(median(seconds))
    })
}

fn refused(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the system refuses a socket: {error}"))
}
