FROM busybox
ADD git://example.com/x#--upload-pack=x /x
