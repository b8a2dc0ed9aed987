//! `-v [source:]target[:options]`.

use super::{Invalid, mount::absolute};
use engine::containers::notation;
use engine::containers::request::MountRequest;

/// Reads a volume or a bind. A source that begins with `./` or `../` is a path, against the current directory.
pub(crate) fn parse(text: &str) -> Result<MountRequest, Invalid> {
    let (source, rest) = text.split_once(':').unwrap_or((text, ""));
    let is_relative = matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../");
    if !is_relative || rest.is_empty() {
        return notation::volume::parse(text);
    }
    notation::volume::parse(&format!("{}:{rest}", absolute(source)?.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::containers::request::MountSource;

    #[test]
    fn paths_may_be_relative() {
        let relative = parse("./x:/data:ro").unwrap();
        let expected = std::env::current_dir().unwrap().join("x");
        assert!(matches!(relative.source, MountSource::Bind { path, .. } if path == expected));
        assert!(relative.read_only);
        assert!(matches!(
            parse("pg:/data").unwrap().source,
            MountSource::Volume { .. }
        ));
    }
}
