//! The Dockerfile language: text to instructions with source spans, variable expansion, ignore patterns.
//!
//! In: the text of a Dockerfile or a `.dockerignore`. Out: instructions, each with the lines it stands on. Pure: never
//! touches the disk, never knows a build.
