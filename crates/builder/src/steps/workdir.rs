//! `WORKDIR`: a directory that is made if it is not there.

use super::snapshot::Draught;
use crate::cache::{KeyHasher, Record, chain};
use crate::error::{Failure, StepError};
use crate::place::PARENT_MODE;
use crate::progress::Step;
use crate::stage::StageRun;
use crate::users;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::path::Path;
use store::Times;

pub(crate) fn workdir(run: &mut StageRun<'_>, path: &str, step: &Step<'_>) -> Result<(), Failure> {
    let path = run.draft.absolute(&run.word(path)?);
    let text = format!("WORKDIR {path}");
    run.draft.image.config.working_dir.clone_from(&path);
    if path == "/" {
        run.draft.history(text, true);
        return Ok(());
    }
    let job = run.job;
    let user = run.draft.image.config.user.clone();
    let epoch = job.file_epoch();
    let below = chain(&run.draft.layers);
    let mut hasher = KeyHasher::new("workdir");
    hasher
        .part(below.as_bytes())
        .part(&path)
        .part(&user)
        .part(epoch.to_string());
    let key = hasher.finish();
    let layer = match run.find(&key)? {
        Ok(finished) => {
            step.cached();
            finished.layer
        }
        Err(_turn) => {
            let permit = job.permit();
            let draught = Draught::begin(job, &run.draft.layers)?;
            let tree = draught.mount()?;
            let made = match tree.stat(Path::new(&path), true) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => false,
                Err(error) if error.errno == Errno::NOENT => {
                    let owner = users::resolve(&tree, &user)?;
                    tree.create_dir_all(Path::new(&path), PARENT_MODE, owner)
                        .map_err(StepError::from)?;
                    true
                }
                Ok(_) => return Err(StepError::WorkingDirectory(path).into()),
                Err(error) if error.errno == Errno::NOTDIR => {
                    return Err(StepError::WorkingDirectory(path).into());
                }
                Err(error) => return Err(error.into()),
            };
            drop(tree);
            let layer = if made {
                Some(draught.commit(Times::Exactly(epoch))?)
            } else {
                None
            };
            drop(permit);
            let record = Record {
                summary: &text,
                inputs: serde_json::json!({"operation": &text, "below": below, "user": user, "time": epoch}),
                seconds: step.seconds(),
            };
            job.cache.record(&[key], layer.as_ref(), &record)?;
            layer
        }
    };
    match layer {
        Some(layer) => run.draft.add_layer(layer, text),
        None => run.draft.history(text, true),
    }
    Ok(())
}
