FROM busybox
APT-GET install x
