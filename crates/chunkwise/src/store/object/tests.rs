use super::*;
use crate::store::StorageOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Instant;

/// A server on loopback that gives its answers in order, one to a connection, and keeps what was asked.
struct Script {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// An answer: its bytes, and how long the connection stays open behind them.
type Answer = (String, Duration);

fn script(answers: Vec<Answer>) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for (answer, open) in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap_or(0);
            log.lock().unwrap().push(String::from_utf8_lossy(&request[..n]).to_lowercase());
            let _ = stream.write_all(answer.as_bytes());
            std::thread::sleep(open);
        }
    });
    Script { port, asked }
}

fn answer(status: &str, headers: &str, len: usize, body: &str) -> Answer {
    (format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"), Duration::ZERO)
}

fn ok(body: &str) -> Answer {
    answer("200 OK", "", body.len(), body)
}

fn part(range: &str, body: &str) -> Answer {
    answer("206 Partial Content", &format!("Content-Range: bytes {range}\r\n"), body.len(), body)
}

fn store(script: &Script, options: &[&str]) -> Arc<RemoteStore> {
    let options = StorageOptions::parse(options).unwrap();
    open(&format!("http://127.0.0.1:{}/cube", script.port), &options).unwrap()
}

fn told(error: &StoreError) -> String {
    super::told(error)
}

#[test]
fn what_is_no_whole_answer_is_asked_for_again() {
    let range = ByteRange::Bounded { start: 2, len: 4 };
    for bad in [
        // The body ends early; it is another range; it is all of the object; there is no answer; the server is busy.
        answer("206 Partial Content", "Content-Range: bytes 2-5/10\r\n", 4, "23"),
        part("3-6/10", "3456"),
        ok("0123456789"),
        (String::new(), Duration::ZERO),
        answer("503 Slow Down", "", 0, ""),
        answer("429 Too Many Requests", "", 0, ""),
    ] {
        let script = script(vec![bad.clone(), part("2-5/10", "2345")]);
        let store = store(&script, &[]);
        assert_eq!(store.get("k", range).unwrap().unwrap(), b"2345", "{bad:?}");
        assert_eq!(store.repeated(), 1);
        let asked = script.asked.lock().unwrap();
        assert!(asked.iter().all(|request| request.contains("range: bytes=2-5")), "{asked:?}");
    }
}

#[test]
fn a_body_that_stalls_is_given_up_and_asked_for_again() {
    let stalled = (answer("200 OK", "", 10, "01234").0, Duration::from_secs(20));
    let script = script(vec![ok("x"), stalled]);
    let store = store(&script, &["stall_timeout=200ms", "retry_timeout=1s"]);
    assert_eq!(store.get("k", ByteRange::Whole).unwrap().unwrap(), b"x");
    let began = Instant::now();
    let error = told(&store.get("k", ByteRange::Whole).unwrap_err());
    assert!(began.elapsed() < Duration::from_secs(5), "{error}");
    assert!(error.contains("cannot read `k`") && error.contains("tries"), "{error}");
}

#[test]
fn a_body_that_trickles_is_given_up_whatever_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("endpoint=http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let mut sent = stream.write_all(answer("200 OK", "ETag: x\r\n", 1000, "").0.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(b" ");
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    let options = [&endpoint, "anonymous=true", "stall_timeout=200ms", "retry_timeout=1s"];
    let store = open("s3://b/cube", &StorageOptions::parse(options).unwrap()).unwrap();
    let asks: [&dyn Fn() -> Result<(), StoreError>; 3] =
        [&|| store.get("k", ByteRange::Whole).map(|_| ()), &|| store.list_dir("").map(|_| ()), &|| store.delete("k")];
    for ask in asks {
        let began = Instant::now();
        let error = told(&ask().unwrap_err());
        assert!(error.contains("less than 512 bytes per second for 0.2 s"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{error}");
    }
}

#[test]
fn a_part_in_the_place_of_all_of_the_object_is_asked_for_again() {
    let script = script(vec![part("0-3/10", "0123"), ok("0123456789")]);
    let store = store(&script, &[]);
    assert_eq!(store.get("k", ByteRange::Whole).unwrap().unwrap(), b"0123456789");
    assert_eq!(store.repeated(), 1);
}

#[test]
fn what_will_not_pass_is_said_at_once_with_its_status_key_and_range() {
    for (status, name) in [(400, "Bad Request"), (401, "Unauthorized"), (403, "Forbidden")] {
        let script = script(vec![answer(&format!("{status} {name}"), "", 0, ""), ok("never asked for")]);
        let store = store(&script, &[]);
        let error = store.get("v/c/0", ByteRange::Bounded { start: 5, len: 5 }).unwrap_err();
        assert!(matches!(error, StoreError::Status { status: s, .. } if s == status), "{error:?}");
        let said = told(&error);
        for word in ["v/c/0", "bytes 5–9", &status.to_string(), name, "127.0.0.1"] {
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(store.repeated(), 0);
    }
}

#[test]
fn an_absent_object_is_none_and_other_statuses_only_where_they_are_named() {
    let script = script(vec![answer("404 Not Found", "", 0, ""), answer("403 Forbidden", "", 0, "")]);
    let options = StorageOptions { absent_on: vec![403], ..StorageOptions::default() };
    let store = open(&format!("http://127.0.0.1:{}/cube", script.port), &options).unwrap();
    assert!(store.get("k", ByteRange::Whole).unwrap().is_none());
    assert!(store.get("k", ByteRange::Whole).unwrap().is_none());
}

#[test]
fn the_server_says_how_long_to_wait() {
    let script = script(vec![answer("503 Busy", "Retry-After: 1\r\n", 0, ""), ok("x")]);
    let began = Instant::now();
    assert_eq!(store(&script, &[]).get("k", ByteRange::Whole).unwrap().unwrap(), b"x");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let script = self::script(vec![answer("503 Busy", "Retry-After: 100\r\n", 0, ""), ok("x")]);
    let began = Instant::now();
    let error = told(&store(&script, &["retry_timeout=10s"]).get("k", ByteRange::Whole).unwrap_err());
    assert!(error.contains("503") && began.elapsed() < Duration::from_secs(2), "{error}");
}

#[test]
fn a_range_past_the_end_is_an_error_that_says_the_size() {
    for past in [part("8-9/10", "89"), answer("416 No", "Content-Range: bytes */10\r\n", 0, "")] {
        let script = script(vec![past]);
        let error = store(&script, &[]).get("k", ByteRange::Bounded { start: 8, len: 4 }).unwrap_err();
        assert!(matches!(error, StoreError::Short { size: 10, start: 8, len: 4, .. }), "{error:?}");
    }
    let script = script(vec![answer("416 No", "Content-Range: bytes */0\r\n", 0, "")]);
    assert!(store(&script, &[]).get("k", ByteRange::Suffix(4)).unwrap().unwrap().is_empty());
}

#[test]
fn all_of_the_object_in_the_place_of_a_part_ends_in_an_error() {
    let script = script(vec![ok("0123456789"); 8]);
    let store = store(&script, &[]);
    let error = told(&store.get("k", ByteRange::Suffix(4)).unwrap_err());
    assert!(error.contains("the last 4 bytes") && error.contains("where a part was asked for"), "{error}");
}

#[test]
fn threads_of_other_runtimes_may_ask() {
    let script = script(vec![ok("x"), ok("y")]);
    let store = store(&script, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (blocking, polled) = runtime.block_on(async {
        (store.get("k", ByteRange::Whole).unwrap(), store.get_async("k", ByteRange::Whole).await.unwrap())
    });
    assert_eq!((blocking.unwrap(), polled.unwrap()), (b"x".to_vec(), b"y".to_vec()));
}

#[test]
fn a_web_server_is_neither_listed_nor_written() {
    let script = script(vec![]);
    let store = store(&script, &[]);
    assert!(matches!(store.list_dir(""), Err(StoreError::NoList { .. })));
    assert!(matches!(store.put("k", b"x"), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(store.delete_prefix(""), Err(StoreError::ReadOnly { .. })));
}
