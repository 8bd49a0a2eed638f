//! Two small programs for the benchmark on an object store, without dependencies: `rustc -O object_store.rs`.
//!
//! `object_store delay PORT UPSTREAM MILLISECONDS`   passes TCP connections on; what the client sends arrives later
//! `object_store fetch HOST:PORT /BUCKET/PREFIX CONNECTIONS < KEYS`   fetches the objects and drops them

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["delay", port, upstream, ms] => delay(port, upstream.to_owned(), Duration::from_millis(ms.parse().unwrap())),
        ["fetch", host, prefix, connections] => fetch(host, prefix, connections.parse().unwrap()),
        _ => panic!("delay PORT UPSTREAM MILLISECONDS, or fetch HOST:PORT PREFIX CONNECTIONS"),
    }
}

/// Requests wait for `late` on their way; what comes back is passed on as it comes. Connections are made at once.
fn delay(port: &str, upstream: String, late: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    for client in listener.incoming() {
        let (client, server) = (client?, TcpStream::connect(&upstream)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (send, wait) = channel::<(Instant, Vec<u8>)>();
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 18];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if send.send((Instant::now() + late, bytes[..n].to_vec())).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in wait {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 18];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// Each connection fetches the next key until there is none; tells seconds and bytes.
fn fetch(host: &str, prefix: &str, connections: usize) -> io::Result<()> {
    let keys: Vec<String> = io::stdin().lines().collect::<Result<_, _>>()?;
    let (next, bytes, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let stream = TcpStream::connect(host).unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut reader, mut writer) = (BufReader::with_capacity(1 << 18, &stream), &stream);
                let mut buffer = vec![0; 1 << 18];
                while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                    write!(writer, "GET {prefix}/{key} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
                    let (mut line, mut length, mut status) = (String::new(), 0, String::new());
                    loop {
                        line.clear();
                        reader.read_line(&mut line).unwrap();
                        if status.is_empty() {
                            status = line.clone();
                        }
                        if let Some((name, value)) = line.split_once(':')
                            && name.eq_ignore_ascii_case("content-length")
                        {
                            length = value.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    assert!(status.contains(" 200 "), "{key}: {status}");
                    bytes.fetch_add(length, Ordering::Relaxed);
                    let mut left = length;
                    while left > 0 {
                        let most = left.min(buffer.len());
                        let n = reader.read(&mut buffer[..most]).unwrap();
                        assert!(n > 0, "{key} ended early");
                        left -= n;
                    }
                }
            });
        }
    });
    println!("{:.3} {}", begun.elapsed().as_secs_f64(), bytes.into_inner());
    Ok(())
}
