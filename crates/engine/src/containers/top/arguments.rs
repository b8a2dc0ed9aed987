//! The arguments of ps(1), as far as they say which columns are shown.

use super::columns::Column;
use crate::EngineError;

const FULL: &str = "UID,pid,ppid,c,stime,tname,time,cmd";
const EXTRA_FULL: &str = "UID,pid,ppid,c,sz,rss,psr,stime,tname,time,cmd";
const LONG: &str = "f,s,uid,pid,ppid,c,pri,ni,ADDR,sz,wchan,tname,time,ucmd";
const FULL_LONG: &str = "f,s,UID,pid,ppid,c,pri,ni,ADDR,sz,wchan,stime,tname,time,cmd";
const JOBS: &str = "pid,pgid,sid,tname,time,ucmd";
const SHORT: &str = "pid,tname,time,ucmd";
const BSD_USER: &str = "user,pid,%cpu,%mem,vsz,rss,tname,stat,start_time,bsdtime,args";
const BSD_LONG: &str = "f,uid,pid,ppid,pri,ni,vsz,rss,wchan,stat,tname,bsdtime,args";
const BSD_JOBS: &str = "ppid,pid,pgid,sid,tname,tpgid,stat,uid,bsdtime,args";
const BSD_SHORT: &str = "pid,tname,stat,bsdtime,args";

/// The formats that single letters have asked for.
#[derive(Debug, Default)]
struct Asked {
    full: bool,
    extra_full: bool,
    long: bool,
    jobs: bool,
    bsd: bool,
    bsd_user: bool,
    bsd_long: bool,
    bsd_jobs: bool,
    without_titles: bool,
}

/// Reads arguments; without any they are `-ef`.
pub(super) fn parse(arguments: &[String]) -> Result<Vec<Column>, EngineError> {
    let mut asked = Asked::default();
    let mut columns: Vec<Column> = Vec::new();
    let mut words = arguments.iter().flat_map(|word| word.split_ascii_whitespace());
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=') {
                Some(("format", list)) => add(list, &mut columns)?,
                None if long == "format" => add(value(words.next(), word)?, &mut columns)?,
                None if matches!(long, "no-headers" | "no-header" | "no-heading" | "noheaders") => {
                    asked.without_titles = true;
                }
                None if long == "headers" => {}
                _ => return Err(unknown(word)),
            }
            continue;
        }
        let (bsd, letters) = match word.strip_prefix('-') {
            Some(letters) => (false, letters),
            None => (true, word),
        };
        asked.bsd |= bsd;
        for (at, letter) in letters.char_indices() {
            if letter == 'o' {
                // The list is the rest of the word, or the next one.
                let rest = &letters[at + 1..];
                let list = if rest.is_empty() {
                    value(words.next(), word)?
                } else {
                    rest
                };
                add(list, &mut columns)?;
                break;
            }
            asked.letter(bsd, letter).ok_or_else(|| unknown(word))?;
        }
        if letters.is_empty() {
            return Err(unknown(word));
        }
    }
    if columns.is_empty() {
        add(if any { asked.list() } else { FULL }, &mut columns)?;
    }
    if asked.without_titles {
        for column in &mut columns {
            column.title.clear();
        }
    }
    Ok(columns)
}

impl Asked {
    /// Takes a letter; `None` if it means nothing here.
    fn letter(&mut self, bsd: bool, letter: char) -> Option<()> {
        match (bsd, letter) {
            // Which processes, of all that there are: the container's are shown in any case. And how wide: as wide as
            // they are.
            (false, 'A' | 'a' | 'd' | 'e' | 'w') | (true, 'a' | 'g' | 'w' | 'x') => {}
            (false, 'f') => self.full = true,
            (false, 'F') => self.extra_full = true,
            (false, 'l') => self.long = true,
            (false, 'j') => self.jobs = true,
            (true, 'u') => self.bsd_user = true,
            (true, 'l') => self.bsd_long = true,
            (true, 'j') => self.bsd_jobs = true,
            (true, 'h') => self.without_titles = true,
            _ => return None,
        }
        Some(())
    }

    fn list(&self) -> &'static str {
        match () {
            () if self.bsd_user => BSD_USER,
            () if self.bsd_long => BSD_LONG,
            () if self.bsd_jobs => BSD_JOBS,
            () if self.long && self.full => FULL_LONG,
            () if self.long => LONG,
            () if self.extra_full => EXTRA_FULL,
            () if self.full => FULL,
            () if self.jobs => JOBS,
            () if self.bsd => BSD_SHORT,
            () => SHORT,
        }
    }
}

/// Adds the columns of a list: names by commas, the last perhaps with a title of its own: `pid,comm=PROGRAM`.
fn add(list: &str, columns: &mut Vec<Column>) -> Result<(), EngineError> {
    let mut rest = list;
    while !rest.is_empty() {
        let end = rest.find([',', '=']).unwrap_or(rest.len());
        let name = &rest[..end];
        let mut column = Column::named(name).ok_or_else(|| EngineError::Invalid {
            message: format!("unknown user-defined format specifier \"{name}\""),
            hint: Some("ps(1) lists them under STANDARD FORMAT SPECIFIERS".into()),
        })?;
        rest = &rest[end..];
        if let Some(title) = rest.strip_prefix('=') {
            // What ps(1) does: a title reaches to the end of the argument, unless it is empty.
            let (title, after) = match title.strip_prefix(',') {
                Some(after) => ("", after),
                None => (title, ""),
            };
            title.clone_into(&mut column.title);
            rest = after;
        } else {
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        columns.push(column);
    }
    Ok(())
}

fn value<'a>(next: Option<&'a str>, word: &str) -> Result<&'a str, EngineError> {
    next.ok_or_else(|| EngineError::Invalid {
        message: format!("format specification must follow {word}"),
        hint: Some("for example '-o pid,comm'".into()),
    })
}

fn unknown(word: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("unsupported ps option '{word}'"),
        hint: Some("there are -e -A -f -F -l -j, a u x l j, and -o with a list of columns".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> Result<String, String> {
        let words: Vec<String> = arguments
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let columns = parse(&words).map_err(|error| error.to_string())?;
        Ok(columns
            .into_iter()
            .map(|column| column.title)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn what_people_write_gives_what_ps_shows() {
        for (arguments, expected) in [
            ("", "UID PID PPID C STIME TTY TIME CMD"),
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e -f", "UID PID PPID C STIME TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-e", "PID TTY TIME CMD"),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-eo pid,comm", "PID COMMAND"),
            ("-o pid,ppid -o args", "PID PPID COMMAND"),
            ("-opid,user", "PID USER"),
            ("o pid,cmd", "PID CMD"),
            ("axo pid,stat", "PID STAT"),
            ("-o pid= -o comm=PROGRAM", " PROGRAM"),
            ("-o pid=,comm", " COMMAND"),
            ("--format=pid,etime", "PID ELAPSED"),
            (
                "-elf",
                "F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD",
            ),
            ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ] {
            assert_eq!(titles(arguments).as_deref(), Ok(expected), "{arguments}");
        }
    }

    #[test]
    fn what_means_nothing_here_is_said() {
        for (arguments, expected) in [
            (
                "-o pid,nosuch",
                "unknown user-defined format specifier \"nosuch\"",
            ),
            ("-o", "format specification must follow -o"),
            ("-eZ", "unsupported ps option '-eZ'"),
            ("--sort=pid", "unsupported ps option '--sort=pid'"),
            ("-", "unsupported ps option '-'"),
        ] {
            assert_eq!(titles(arguments), Err(expected.to_owned()), "{arguments}");
        }
    }
}
