//! Why steps were done again, and what they cost.

use super::Builds;
use crate::EngineError;
use builder::StepReport;
use rusqlite::OptionalExtension;
use state::StateError;

/// What there is to say of a step.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The instruction.
    pub instruction: String,
    /// Whether its result was in the cache.
    pub cached: bool,
    /// Why not, or nothing if it was.
    pub reason: String,
    /// What it took, or took when it was done.
    pub seconds: f64,
    /// Bytes that it made, unpacked.
    pub bytes: u64,
}

impl Builds<'_> {
    /// Explains the steps of a build that has just ended. `since` is when it began, in nanoseconds since 1970.
    pub fn explain(
        &self,
        build: &builder::Build,
        reports: &[StepReport],
        since: i64,
    ) -> Result<Vec<Explanation>, EngineError> {
        reports
            .iter()
            .map(|report| {
                let reason = match (report.cached, build.no_cache) {
                    (true, _) => String::new(),
                    (false, true) => "--no-cache was given".to_owned(),
                    (false, false) => self.reason(report, since)?,
                };
                Ok(Explanation {
                    instruction: report.summary.clone(),
                    cached: report.cached,
                    reason,
                    seconds: report.seconds,
                    bytes: report.layer.as_ref().map_or(0, |layer| layer.size),
                })
            })
            .collect()
    }

    /// Finds the last build's step that is most like this one: the same instruction, else another on the same layers.
    fn reason(self, report: &StepReport, since: i64) -> Result<String, EngineError> {
        let below = report.inputs.get("below").map_or_else(String::new, |below| {
            below.as_str().map_or_else(String::new, str::to_owned)
        });
        let key = report.key.to_string();
        let (same, other) = self.engine.database.read(|connection| {
            let same: Option<String> = connection
                .prepare_cached(
                    "SELECT inputs FROM build_steps WHERE summary = ?1 AND key <> ?2 AND created < ?3
                        AND inputs <> 'null'
                     ORDER BY last_used DESC LIMIT 1",
                )?
                .query_row((&report.summary, &key, since), |row| row.get(0))
                .optional()?;
            let other: Option<String> = connection
                .prepare_cached(
                    "SELECT summary FROM build_steps WHERE json_extract(inputs, '$.below') = ?1 AND summary <> ?2
                        AND created < ?3
                     ORDER BY last_used DESC LIMIT 1",
                )?
                .query_row((&below, &report.summary, since), |row| row.get(0))
                .optional()?;
            Ok::<_, StateError>((same, other))
        })?;
        let difference = same
            .and_then(|text| serde_json::from_str(&text).ok())
            .and_then(|before| builder::first_difference(&before, &report.inputs));
        Ok(match (difference, other) {
            (Some(difference), _) => format!("changed: {difference}"),
            (None, Some(other)) => format!("new here; the last build had: {other}"),
            (None, None) => "nothing like it is in the cache".to_owned(),
        })
    }
}
