# syntax=
FROM busybox
RUNN true
