//! `image ls --tree`.

use crate::failure::Failure;
use crate::output::{self, units};
use engine::images::Entry;
use oci::Digest;

/// Prints what each name leads to, with a line for each platform.
pub(super) fn print(entries: &[Entry]) -> Result<(), Failure> {
    let mut lines: Vec<[String; 5]> = vec![[
        "IMAGE".into(),
        "ID".into(),
        "DISK USAGE".into(),
        "CONTENT SIZE".into(),
        "USED".into(),
    ]];
    for entry in entries {
        let mut names: Vec<String> = entry.names.iter().map(oci::Reference::familiar).collect();
        let last = names.pop().unwrap_or_else(|| "<untagged>".to_owned());
        for name in names {
            lines.push([name, String::new(), String::new(), String::new(), String::new()]);
        }
        lines.push(line(
            last,
            Some(entry.id),
            (entry.disk_usage, entry.content_size),
            entry.in_use,
        ));
        let count = entry.branches.len();
        for (index, branch) in entry.branches.iter().enumerate() {
            let bar = if index + 1 == count { "└─" } else { "├─" };
            lines.push(line(
                format!("{bar} {}", branch.platform),
                branch.id,
                (branch.disk_usage, branch.content_size),
                branch.in_use,
            ));
        }
    }
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for line in &lines {
        // Sizes stand to the right of their columns, so that they can be compared.
        let text = format!(
            "{:<a$}   {:<b$}   {:>c$}   {:>d$}   {:^e$}",
            line[0],
            line[1],
            line[2],
            line[3],
            line[4],
            a = widths[0],
            b = widths[1],
            c = widths[2],
            d = widths[3],
            e = widths[4],
        );
        output::line(text.trim_end())?;
    }
    Ok(())
}

fn line(name: String, id: Option<Digest>, (disk, content): (u64, u64), in_use: bool) -> [String; 5] {
    [
        name,
        id.map(|id| id.short()).unwrap_or_default(),
        units::human_size(disk),
        units::human_size(content),
        if in_use { "✔" } else { "" }.to_owned(),
    ]
}
