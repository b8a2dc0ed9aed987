# check=error=true
FROM busybox AS Upper
