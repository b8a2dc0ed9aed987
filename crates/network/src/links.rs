//! Links in general: their names, and taking them away.

use crate::NetworkError;
use crate::nftables as nft;
use crate::rtnetlink as rtnl;
use rustix::io::Errno;
use sys::netlink::{Batch, Socket};

/// Removes a link, if it is there.
pub(crate) fn remove_link(route: &mut Socket, name: &str) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    rtnl::remove_link(&mut batch, name);
    rtnl::accept(route.exchange(batch)?, "remove link", name, &[Errno::NODEV])
}

/// What the kernel takes (`dev_valid_name`), and what makes one component of a path in `/proc/sys`.
pub(crate) fn check_link_name(name: &str) -> Result<(), NetworkError> {
    let bad =
        |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace() || byte == 0x0b;
    if name.is_empty() || name.len() > nft::LINK_NAME || name == "." || name == ".." || name.bytes().any(bad)
    {
        return Err(NetworkError::LinkName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_are_the_kernels() {
        for good in ["b", "coracle0", "123456789012345", "a.b", "-x"] {
            assert!(check_link_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1234567890123456",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a\nb",
            "a\0",
        ] {
            assert!(check_link_name(bad).is_err(), "{bad:?}");
        }
    }
}
