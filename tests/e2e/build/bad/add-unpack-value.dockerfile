FROM busybox
ADD --unpack=sometimes a b
