FROM busybox
ADD nosuch.tar /x
