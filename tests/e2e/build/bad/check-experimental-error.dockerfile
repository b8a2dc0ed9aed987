# check=error=true;skip=FromAsCasing
FROM busybox
MAINTAINER me
