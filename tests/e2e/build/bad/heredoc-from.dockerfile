FROM <<E
busybox
E
