//! Compressed streams, recognised by their first bytes and inflated in this process: a program out of an image or
//! the path never gets to do it (CVE-2026-41567).

use std::io::{BufRead, BufReader, Read};

/// zstd frames may ask for windows of up to this power of two: 128 MiB.
const LARGEST_WINDOW_LOG: u32 = 27;
/// What an xz stream may make us allocate.
const LARGEST_XZ_MEMORY: u64 = 256 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Bzip2,
    Gzip,
    Plain,
    Xz,
    Zstd,
}

impl Format {
    /// Recognises a format by a stream's first bytes.
    pub(crate) fn recognise(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ] => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

/// Returns the stream inflated. `input` must give its first bytes with the first `fill_buf`.
pub(crate) fn inflate<'a, R: BufRead + Send + 'a>(
    mut input: R,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    let format = Format::recognise(input.fill_buf()?);
    Ok(match format {
        Format::Plain => Box::new(input),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(LARGEST_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                LARGEST_XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// A reader whose first bytes have been gathered, however small the pieces that they came in.
pub(crate) fn with_start<R: Read>(
    mut input: R,
) -> std::io::Result<BufReader<std::io::Chain<std::io::Cursor<Vec<u8>>, R>>> {
    let mut start = Vec::with_capacity(16);
    (&mut input).take(16).read_to_end(&mut start)?;
    Ok(BufReader::with_capacity(
        256 * 1024,
        std::io::Cursor::new(start).chain(input),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(data: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        inflate(with_start(data)?)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn every_format_is_recognised() {
        let data = b"some data".repeat(1000);
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&data).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&data).unwrap();
        for packed in [
            data.clone(),
            gzip(&data),
            [gzip(&data[..100]), gzip(&data[100..])].concat(),
            zstd::encode_all(&data[..], 1).unwrap(),
            xz.finish().unwrap(),
            bzip2.finish().unwrap(),
        ] {
            assert_eq!(read(&packed).unwrap(), data);
        }
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn damage_and_greed_are_refused() {
        let data = b"some data".repeat(1000);
        let packed = gzip(&data);
        assert!(read(&packed[..packed.len() - 1]).is_err(), "cut short");
        assert!(
            read(&[&packed[..], b"garbage"].concat()).is_err(),
            "garbage behind"
        );
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder
            .set_parameter(zstd::zstd_safe::CParameter::WindowLog(28))
            .unwrap();
        encoder.write_all(&data).unwrap();
        assert!(read(&encoder.finish().unwrap()).is_err(), "a window of 256 MiB");
    }
}
