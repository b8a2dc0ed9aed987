{"from": "busybox"}
