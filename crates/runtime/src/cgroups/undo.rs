//! Taking back a change of limits: what the files said before, written again.

use super::hierarchy::Version;
use super::settings;
use super::{Cgroup, Member};
use oci_spec::runtime::LinuxResources;
use sys::SysError;

/// What the files of a living cgroup said before its limits were changed.
#[derive(Debug)]
pub struct Before {
    /// Where each file is (an index of the cgroup's members), what it is called, and what was in it; in the order in
    /// which they are written.
    files: Vec<(usize, String, String)>,
}

impl Cgroup {
    /// Reads the files that [`Cgroup::update`] with these limits would write.
    pub fn before(&self, resources: &LinuxResources) -> Result<Before, SysError> {
        let mut files: Vec<(usize, String, String)> = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            for setting in self.settings_for(member, resources)? {
                for (file, _) in &setting.choices {
                    if files.iter().any(|(at, known, _)| *at == index && known == file) {
                        break;
                    }
                    if let Some(content) = member.directory.read_existing(file)? {
                        files.push((index, file.clone().into_owned(), content));
                        break;
                    }
                }
            }
        }
        Ok(Before { files })
    }

    /// Writes what was there before. What one file refuses does not keep the others; the first refusal is reported.
    pub fn restore(&self, before: &Before) -> Result<(), SysError> {
        let mut result = Ok(());
        // The last change first: what had to be raised before something else is lowered after it.
        for (index, file, content) in before.files.iter().rev() {
            let Some(member) = self.members.get(*index) else {
                continue;
            };
            for line in content.lines() {
                result = result.and(member.directory.write(file, line));
            }
        }
        result
    }

    fn settings_for(
        &self,
        member: &Member,
        resources: &LinuxResources,
    ) -> Result<Vec<settings::Setting>, SysError> {
        let all = match member.hierarchy.version {
            Version::One => settings::version_1(resources, None)?,
            Version::Two => settings::version_2(resources)?,
        };
        let alone = self.members.len() == 1;
        Ok(all
            .into_iter()
            .filter(|setting| alone || member.hierarchy.has_any(&[setting.controller]))
            .collect())
    }
}
