//! Names that people like: an adjective and somebody who went to sea, or a maker of boats.
