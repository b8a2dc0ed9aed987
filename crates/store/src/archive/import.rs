//! A root filesystem's tar as an image of one layer.

use crate::layers::open_directory;
use crate::pipeline::{self, Job};
use crate::{Image, NewImage, Store, StoreError, Times};
use oci::{History, ImageConfig, Reference, RootFs};
use std::io::Read;

impl Store {
    /// Makes an image of one layer from a root filesystem's tar (any compression); `config` gets the rootfs and one
    /// history entry.
    pub fn import(
        &self,
        tar: &mut dyn Read,
        mut config: ImageConfig,
        comment: &str,
        reference: Option<&Reference>,
    ) -> Result<Image, StoreError> {
        let lease = self.lease()?;
        // The layer is made here and not kept as it came, so that its directory alone can give its tar again.
        let snapshot = self.begin_snapshot(&lease, &[])?;
        let root = open_directory(&snapshot.upper)?;
        let extracted = with_sendable(tar, |source| {
            pipeline::run(Job {
                what: "the archive".to_owned(),
                source,
                size: None,
                keep: None,
                root,
                lower: &[],
                limits: self.limits,
            })
        })
        .and_then(|outcome| {
            outcome.extracted.map_err(|source| StoreError::Extract {
                layer: "to import".to_owned(),
                source,
            })
        });
        if let Err(error) = extracted {
            self.discard_snapshot(snapshot)?;
            return Err(error);
        }
        let layer = self.commit_snapshot(&lease, snapshot, Times::AsFound)?;
        config.rootfs = RootFs {
            diff_ids: vec![layer.diff_id],
            ..RootFs::default()
        };
        config.history = vec![History {
            created: config.created.clone(),
            comment: comment.to_owned(),
            ..History::default()
        }];
        let raw_config = serde_json::to_vec(&config).map_err(|source| StoreError::Document {
            what: "the new image's configuration".to_owned(),
            source,
        })?;
        self.record_image(&NewImage {
            raw_config: &raw_config,
            manifest: None,
            layers: &[layer.id],
            parent: None,
            tags: reference.map(std::slice::from_ref).unwrap_or_default(),
            repository_digest: None,
        })
    }
}

/// Lends a reader that must stay on this thread to code that wants to send its reader to another.
pub(crate) fn with_sendable<T: Send>(
    tar: &mut dyn Read,
    work: impl FnOnce(Box<dyn Read + Send>) -> T + Send,
) -> T {
    let (sender, receiver) = std::sync::mpsc::sync_channel(4);
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || work(Box::new(super::spool::Received::new(receiver))));
        super::spool::send_all(tar, &sender);
        drop(sender);
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
