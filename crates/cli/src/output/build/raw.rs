//! `--progress=rawjson`: each event as a line of JSON, in the words of BuildKit's solve status.

use engine::builder::{BuildEvent, OutputStream};
use serde_json::{Value, json};

/// What has been said of each step, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Raw {
    steps: Vec<(String, String)>,
}

impl Raw {
    /// Returns the line for an event, if it has one.
    pub(super) fn line(&mut self, event: &BuildEvent) -> Option<String> {
        let now = jiff::Timestamp::now().to_string();
        let value = match event {
            BuildEvent::Planned { .. } | BuildEvent::Report(_) => return None,
            BuildEvent::Started { name, .. } => {
                self.steps.push((name.clone(), now));
                let (_, vertex) = self.vertex(self.steps.len())?;
                json!({"vertexes": [vertex]})
            }
            BuildEvent::Cached { step } => {
                self.ended(*step, &now, |vertex| vertex["cached"] = true.into())?
            }
            BuildEvent::Cancelled { step } => {
                self.ended(*step, &now, |vertex| vertex["error"] = "context canceled".into())?
            }
            BuildEvent::Done { step, .. } => self.ended(*step, &now, |_| {})?,
            BuildEvent::Failed { step, message } => {
                self.ended(*step, &now, |vertex| vertex["error"] = message.as_str().into())?
            }
            BuildEvent::Note { step, message } => {
                let (digest, _) = self.vertex(*step)?;
                json!({"statuses": [{
                    "id": message, "vertex": digest, "name": message, "timestamp": now, "completed": now,
                }]})
            }
            BuildEvent::Output { step, stream, bytes } => {
                let (digest, _) = self.vertex(*step)?;
                let stream = match stream {
                    OutputStream::Stdout => 1,
                    OutputStream::Stderr => 2,
                };
                json!({"logs": [{
                    "vertex": digest, "stream": stream, "data": base64(bytes), "timestamp": now,
                }]})
            }
            BuildEvent::Warning { message, line } => {
                let mut warning = json!({"level": 1, "short": base64(message.as_bytes())});
                if let Some(line) = line {
                    warning["range"] = json!([{"start": {"line": line}, "end": {"line": line}}]);
                }
                json!({"warnings": [warning]})
            }
        };
        Some(value.to_string())
    }

    /// Returns a step's digest, which is its number and nothing else, and what is known of it.
    fn vertex(&self, step: usize) -> Option<(String, Value)> {
        let (name, started) = self.steps.get(step.checked_sub(1)?)?;
        let digest = format!("sha256:{step:064x}");
        let vertex = json!({"digest": digest, "name": name, "started": started});
        Some((digest, vertex))
    }

    fn ended(&self, step: usize, now: &str, add: impl FnOnce(&mut Value)) -> Option<Value> {
        let (_, mut vertex) = self.vertex(step)?;
        vertex["completed"] = now.into();
        add(&mut vertex);
        Some(json!({"vertexes": [vertex]}))
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, place| {
            number << 8 | u32::from(chunk.get(place).copied().unwrap_or_default())
        });
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(LETTERS[(number >> (18 - 6 * place) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_of_from_begin_to_end() {
        let mut raw = Raw::default();
        let mut tell = |event| serde_json::from_str::<Value>(&raw.line(&event).unwrap()).unwrap();
        let began = tell(BuildEvent::Started {
            step: 1,
            name: "[1/1] RUN x".into(),
        });
        assert_eq!(began["vertexes"][0]["name"], "[1/1] RUN x");
        let log = tell(BuildEvent::Output {
            step: 1,
            stream: OutputStream::Stderr,
            bytes: b"abcd".to_vec(),
        });
        assert_eq!(log["logs"][0]["data"], "YWJjZA==");
        assert_eq!(log["logs"][0]["vertex"], began["vertexes"][0]["digest"]);
        let failed = tell(BuildEvent::Failed {
            step: 1,
            message: "no".into(),
        });
        assert_eq!(failed["vertexes"][0]["error"], "no");
        assert!(failed["vertexes"][0]["completed"].is_string());
        assert_eq!(
            raw.line(&BuildEvent::Done {
                step: 7,
                seconds: 0.0
            }),
            None
        );
    }
}
