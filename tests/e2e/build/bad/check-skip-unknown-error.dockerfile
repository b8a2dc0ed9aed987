# check=error=true
from busybox
RUN true
