//! Trying again: how often, and after how long.

use crate::RegistryError;
use crate::transport::Complaint;
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{Duration, SystemTime};

/// Attempts for one request, the first included.
pub(crate) const MOST_ATTEMPTS: u32 = 5;
/// The longest wait of our own.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// The longest wait that a server may ask for. Longer ones are told to the user instead.
const LONGEST_RETRY_AFTER: u64 = 60;

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: RegistryError,
    pub(crate) again: Again,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Again {
    /// It would end the same way.
    Never,
    /// After our own backoff, and not before the seconds that the server asks for.
    After(u64),
}

impl Again {
    fn if_so(worthwhile: bool, seconds: u64) -> Self {
        if worthwhile {
            Self::After(seconds)
        } else {
            Self::Never
        }
    }
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        let again = Again::if_so(error.is_transient(), 0);
        Self { error, again }
    }
}

impl Failed {
    /// Makes a failure of an answer that says 429 or 5xx.
    pub(crate) fn by_status(complaint: Complaint) -> Self {
        let Complaint {
            host,
            status,
            retry_after,
            message,
            ..
        } = complaint;
        let error = if status == 429 {
            RegistryError::RateLimited {
                host,
                wait: retry_after
                    .map_or_else(String::new, |seconds| format!(" and asks to wait {seconds} s")),
            }
        } else {
            RegistryError::Server {
                host,
                status,
                message: if message.is_empty() {
                    message
                } else {
                    format!(": {message}")
                },
            }
        };
        let patient = retry_after.is_none_or(|seconds| seconds <= LONGEST_RETRY_AFTER);
        let again = Again::if_so(error.is_transient() && patient, retry_after.unwrap_or(0));
        Self { error, again }
    }
}

/// Reads `Retry-After`, seconds or a date (RFC 9110, 10.2.3), as seconds from `now` on.
pub(crate) fn asked(text: &str, now: SystemTime) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    // A moment that is over asks for no wait; part of a second counts as a whole one.
    let wait = moment.duration_since(now).unwrap_or_default();
    Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// Returns how long to wait after attempt number `attempt` (from 1): doubling, with half of it left to chance, so that
/// many clients do not come back as one.
pub(crate) fn delay(base: Duration, attempt: u32, asked: u64) -> Duration {
    let full = base
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST_BACKOFF);
    let mut byte = [0];
    // Without randomness the wait is merely not spread.
    let share = match SystemRandom::new().fill(&mut byte) {
        Ok(()) => u32::from(byte[0]),
        Err(ring::error::Unspecified) => 255,
    };
    let ours = full / 2 + full / 2 * share / 255;
    ours.max(Duration::from_secs(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_heed_the_server() {
        let base = Duration::from_millis(500);
        for (attempt, full) in [
            (1, 500),
            (2, 1000),
            (3, 2000),
            (4, 4000),
            (9, 10_000),
            (99, 10_000),
        ] {
            let wait = delay(base, attempt, 0).as_millis();
            assert!((full / 2..=full).contains(&wait), "{attempt}: {wait}");
        }
        assert!(delay(base, 1, 7) >= Duration::from_secs(7));
    }

    #[test]
    fn servers_ask_in_seconds_or_by_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_445_412_420_500);
        for (text, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked(text, now), wait, "{text:?}");
        }
    }

    #[test]
    fn only_passing_trouble_is_tried_again() {
        let complaint = |status, retry_after| Complaint {
            host: "h".into(),
            status,
            retry_after,
            codes: Vec::new(),
            message: String::new(),
        };
        for (status, retry_after, again) in [
            (429, None, Again::After(0)),
            (429, Some(3), Again::After(3)),
            (429, Some(3600), Again::Never),
            (500, None, Again::After(0)),
            (501, None, Again::Never),
            (503, Some(1), Again::After(1)),
            (400, None, Again::Never),
        ] {
            assert_eq!(
                Failed::by_status(complaint(status, retry_after)).again,
                again,
                "{status}"
            );
        }
    }
}
