FROM busybox
ADD https://example.com/x.git?branhc=a /x
