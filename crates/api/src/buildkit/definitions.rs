//! Build graphs (LLB) that stand for what was built here. A client that builds one target on another is given the first
//! one's graph, and hands it back with the second: one operation, which names the images.

use super::SolveError;
use super::wire::pb::{Definition, Input, Op, OpMetadata, SourceOp, op};
use engine::builds::digest_of;
use oci::{Digest, Platform};
use prost::Message;
use std::collections::{BTreeMap, HashMap};

/// Images, each for its platform.
pub(crate) type Images = Vec<(Platform, Digest)>;

/// What the operation's identifier begins with: a source that no other builder has.
const SOURCE: &str = "coracle-build://images";

/// Makes a graph of images.
pub(super) fn of(images: &[(Platform, Digest)]) -> Definition {
    let attrs = images
        .iter()
        .map(|(platform, image)| (platform.to_string(), image.to_string()))
        .collect();
    let source = Op {
        op: Some(op::Op::Source(SourceOp {
            identifier: SOURCE.to_owned(),
            attrs,
        })),
        ..Op::default()
    }
    .encode_to_vec();
    // The last operation of a graph says which result of which other is the graph's.
    let end = Op {
        inputs: vec![Input {
            digest: digest_of(&source).to_string(),
            index: 0,
        }],
        ..Op::default()
    }
    .encode_to_vec();
    // Clients take no graph without what there is to say of its operations, be it nothing.
    let metadata = [&source, &end].map(|bytes| (digest_of(bytes).to_string(), OpMetadata::default()));
    Definition {
        metadata: metadata.into_iter().collect(),
        def: vec![source, end],
        source: None,
    }
}

/// Reads the graphs that a client calls inputs, by their names. Those of others are refused.
pub(super) fn inputs(
    definitions: HashMap<String, Definition>,
) -> Result<BTreeMap<String, Images>, SolveError> {
    definitions
        .into_iter()
        .map(|(name, definition)| match images(&definition) {
            Some(images) => Ok((name, images)),
            None => Err(SolveError::Unsupported(format!(
                "the context {name}: a build graph of the client's own (LLB)"
            ))),
        })
        .collect()
}

fn images(definition: &Definition) -> Option<Images> {
    let mut sources = definition.def.iter().filter_map(|bytes| {
        let operation = Op::decode(bytes.as_slice()).ok()?;
        match operation.op {
            Some(op::Op::Source(source)) if source.identifier == SOURCE => Some(source.attrs),
            _ => None,
        }
    });
    let (Some(images), 2) = (sources.next(), definition.def.len()) else {
        return None;
    };
    images
        .into_iter()
        .map(|(platform, image)| Some((platform.parse().ok()?, image.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_come_back() {
        let image = digest_of(b"image");
        let built = vec![(Platform::host(), image)];
        let read = inputs(HashMap::from([("base".to_owned(), of(&built))])).unwrap();
        assert_eq!(read["base"], built);
        let foreign = Op {
            op: Some(op::Op::Source(SourceOp {
                identifier: "docker-image://busybox".to_owned(),
                ..SourceOp::default()
            })),
            ..Op::default()
        };
        let mut other = of(&built);
        other.def[0] = foreign.encode_to_vec();
        assert!(inputs(HashMap::from([("x".to_owned(), other)])).is_err());
        let mut longer = of(&built);
        longer.def.push(foreign.encode_to_vec());
        assert!(inputs(HashMap::from([("x".to_owned(), longer)])).is_err());
    }
}
