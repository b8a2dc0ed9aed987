//! A server of the Engine API under test, and plain HTTP spoken to it: what clients' libraries would hide.

use crate::Sandbox;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// `coracle serve` on a sandbox's root. It ends when this is dropped.
#[derive(Debug)]
pub struct ApiServer {
    child: Child,
    socket: PathBuf,
}

/// A response, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as a document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}: {}", self.text()))
    }

    /// Panics unless the status is `status`; returns the document, `null` if there is no body.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the documents of a body that holds one a line.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| serde_json::from_str(line).expect("each line is a document"))
            .collect()
    }
}

impl Sandbox {
    /// Starts a server on this root and waits until it answers.
    pub fn serve(&self) -> ApiServer {
        let socket = self.path().join("api.sock");
        let host = format!("unix://{}", socket.display());
        let child = self
            .command(["serve", "--host", &host])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        let start = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "nobody listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        ApiServer { child, socket }
    }
}

impl ApiServer {
    /// Returns the socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns what clients want in `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the server's process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Opens a connection.
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).expect("the server listens")
    }

    /// `GET` to the end of the response.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }

    /// `POST` of a document; `Value::Null` sends no body.
    pub fn post(&self, path: &str, document: &Value) -> Answer {
        if document.is_null() {
            return self.request("POST", path, &[], b"");
        }
        let headers = [("content-type", "application/json")];
        self.request("POST", path, &headers, document.to_string().as_bytes())
    }

    /// Any request, to the end of its response.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut all = vec![("connection", "close")];
        all.extend_from_slice(headers);
        send(&mut stream, method, path, &all, body);
        read(&mut BufReader::new(stream), method != "HEAD")
    }

    /// Takes over a connection as `attach` and `exec` do. Returns it behind the answer's head; panics unless that is `101`.
    pub fn hijack(&self, path: &str, document: &Value) -> (Answer, BufReader<UnixStream>) {
        let mut stream = self.connect();
        let body = if document.is_null() {
            Vec::new()
        } else {
            document.to_string().into_bytes()
        };
        let headers = [
            ("connection", "Upgrade"),
            ("upgrade", "tcp"),
            ("content-type", "application/json"),
        ];
        send(&mut stream, "POST", path, &headers, &body);
        let mut reader = BufReader::new(stream);
        let answer = read(&mut reader, false);
        if answer.status != 101 {
            let mut rest = vec![0; 4096];
            let length = reader.read(&mut rest).unwrap_or_default();
            panic!("{}: {}", answer.status, String::from_utf8_lossy(&rest[..length]));
        }
        (answer, reader)
    }
}

/// Takes apart a multiplexed stream: pairs of stream number and bytes, neighbours of the same stream joined.
pub fn demultiplex(mut bytes: &[u8]) -> Vec<(u8, String)> {
    let mut parts: Vec<(u8, String)> = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (content, rest) = rest.split_at(length);
        let text = String::from_utf8_lossy(content);
        match parts.last_mut() {
            Some((stream, known)) if *stream == header[0] => known.push_str(&text),
            _ => parts.push((header[0], text.into_owned())),
        }
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header: {bytes:?}");
    parts
}

/// Sends a request's head and body.
pub fn send(stream: &mut UnixStream, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: api\r\n");
    for (name, value) in headers {
        text.extend([format!("{name}: {value}\r\n")]);
    }
    text.extend([format!("content-length: {}\r\n\r\n", body.len())]);
    // The server may answer and close before it has read everything.
    drop(
        stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.write_all(body)),
    );
}

/// Reads a response: its head, and with `with_body` its body, by its length, by its chunks, or to the end.
pub fn read(reader: &mut BufReader<UnixStream>, with_body: bool) -> Answer {
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<UnixStream>| {
        line.clear();
        reader.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    };
    let status = next(reader);
    let status = status
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no response, but '{status}'"));
    let mut headers = Vec::new();
    loop {
        let line = next(reader);
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if !with_body || matches!(status, 101 | 204 | 304) {
        return answer;
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = usize::from_str_radix(&next(reader), 16).expect("a chunk has a length");
            let mut chunk = vec![0; length];
            reader.read_exact(&mut chunk).expect("a chunk is whole");
            answer.body.extend(chunk);
            next(reader);
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = answer.header("content-length") {
        let length = length.parse().expect("a length is a number");
        answer.body.resize(length, 0);
        reader.read_exact(&mut answer.body).expect("the body is whole");
    } else {
        reader.read_to_end(&mut answer.body).expect("the body ends");
    }
    answer
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // It may have ended already: a test may have killed it.
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )
        .unwrap_or_default();
        drop(self.child.wait());
    }
}
