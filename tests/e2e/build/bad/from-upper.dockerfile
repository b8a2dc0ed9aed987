FROM BusyBox
