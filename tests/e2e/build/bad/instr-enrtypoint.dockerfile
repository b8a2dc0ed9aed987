FROM busybox
ENRTYPOINT ["x"]
