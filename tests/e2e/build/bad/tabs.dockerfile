	FROM	busybox
	COPYY a b
