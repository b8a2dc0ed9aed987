//! Pseudo-terminals and the modes of the terminal that the user sits at (pty(7), termios(3)).
