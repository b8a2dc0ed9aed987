//! Netlink messages: attributes, requests, answers (netlink(7)); route and netfilter sockets in any network namespace.
