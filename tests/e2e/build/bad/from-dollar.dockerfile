FROM busy$
